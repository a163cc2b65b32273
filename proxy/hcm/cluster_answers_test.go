package hcm

import (
	"testing"

	"culvert/proxy/codec"
)

// A cluster's endpoints are charged with what they answer.
func TestClusterIsChargedWithAnswers(t *testing.T) {
	forPairs(t, func(t *testing.T, p pair) {
		statuses := make(chan int, 2)
		statuses <- 204
		statuses <- 503
		c := httpOrigin(t, p.up, func(s codec.ServerStream) {
			_ = s.WriteResponse(&codec.Response{Status: <-statuses, EndStream: true})
		})
		w := serve(t, with(plainRoute, ""), c, false)
		cc := w.speak(p.down)
		for range 2 {
			s := request(t, cc, get("/"))
			answered(t, s)
			_ = s.Close()
		}
		hosts := c.Status().Hosts
		if len(hosts) != 1 || hosts[0].RqSuccess != 1 || hosts[0].RqError != 1 {
			t.Errorf("%+v, want one success and one error", hosts)
		}
	})
}
