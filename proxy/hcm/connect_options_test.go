package hcm

import (
	"strings"
	"testing"

	"culvert/proxy/codec"
)

// D08: routes see the authority without its port, the upstream with it.
func TestD08StripAnyHostPort(t *testing.T) {
	heads := make(chan *codec.Request, 1)
	c := httpOrigin(t, codec.HTTP2, func(s codec.ServerStream) {
		heads <- s.Request()
		_ = s.WriteResponse(&codec.Response{Status: 200, EndStream: true})
	})
	const text = "stat_prefix: in\nstrip_any_host_port: true\nhttp_filters: [{name: router}]\n" +
		"route_config: {virtual_hosts: [{name: v, domains: [foo.lyft.com], routes: [" + proxyRoute + "]}]}\n"
	s := request(t, serve(t, text, c, false).speak(codec.HTTP2), connect())
	if res := answered(t, s); res.Status != 200 {
		t.Fatalf("status %d", res.Status)
	}
	if head := <-heads; head.Authority != "foo.lyft.com:80" {
		t.Errorf("the upstream saw %q", head.Authority)
	}
}

// Fields that the configuration adds and removes, on the way there and back.
func TestMutationsOnTheWay(t *testing.T) {
	forPairs(t, func(t *testing.T, p pair) {
		heads := make(chan *codec.Request, 1)
		route := strings.TrimSuffix(plainRoute, "}") + `, request_headers_to_add: [{header: {key: x-from, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}],` +
			` request_headers_to_remove: [x-secret], response_headers_to_add: [{header: {key: x-code, value: "%RESPONSE_CODE%"}}]}`
		_, cc := plain(t, p, route, func(s codec.ServerStream) {
			heads <- s.Request()
			_ = s.WriteResponse(&codec.Response{Status: 201, EndStream: true})
		})
		req := get("/")
		req.Header.Add("x-secret", "1")
		res := answered(t, request(t, cc, req))
		if head := <-heads; head.Header.Get("x-from") != "127.0.0.1" || head.Header.Has("x-secret") {
			t.Errorf("the upstream saw %v", head.Header)
		}
		if !res.Header.Has("x-code") {
			t.Errorf("the client saw %v", res.Header)
		}
	})
}
