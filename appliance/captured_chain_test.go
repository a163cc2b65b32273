package appliance

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/peer"
	"culvert/test/ports"
	"culvert/test/topology"
)

// TUN -> internal -> internal: an application that is captured gets through,
// and what is closed behind the second hop refuses its connect.
func TestCapturedThroughInternalListeners(t *testing.T) {
	need.TUN(t)
	app := topology.New(t).Host("app")
	for hops := 1; hops <= 3; hops++ {
		t.Run(fmt.Sprintf("%d hops", hops), func(t *testing.T) {
			origin := peer.Serve(t, listen(t), peer.Echo())
			p := ports.Free(t, 2)
			config := func(to string) string {
				return strings.Replace(chainConfig(t, fmt.Sprint(p[0]), to, hops), "bootstrap_extensions:", fmt.Sprintf(`
bootstrap_extensions:
- name: culvert.tun
  typed_config:
    "@type": type.googleapis.com/culvert.v1.Tun
    name: culvert0
    netns: %s
    addresses: [198.18.0.1/32]
    routes: [0.0.0.0/0]
    tcp_listener: inner1`, app.Path()), 1)
			}
			s := serve(t, config(portOf(origin.Addr())), time.Minute)
			c, err := app.Dial("tcp", "203.0.113.1:80")
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			if err := echoes(c); err != nil {
				t.Error(err)
			}
			_ = c.Close()
			s.drain()
			if err := s.wait(t); err != nil {
				t.Error(err)
			}

			serve(t, config(fmt.Sprint(p[1])), time.Minute)
			if c, err := app.Dial("tcp", "203.0.113.1:80"); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a port that is closed behind the hops: %v, %v; want ECONNREFUSED", c, err)
			}
		})
	}
}
