package tunnel_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"culvert/test/peer"
	"culvert/tunnel"
	"culvert/tunnel/tunneltest"
)

// GOAWAY mid tunnel: the tunnel finishes, the next flow has a new connection, the
// old one goes.
func TestG17FB21GoAway(t *testing.T) {
	tunneltest.ForModes(t, tunnel.Mode.Shared, func(t *testing.T, m tunnel.Mode) {
		gw := tunneltest.NewGateway(t, m, peer.InTurn(func(r *peer.Request) {
			if r.Respond(200, false) != nil || r.GoAway(r.ID, 0) != nil || r.Send([]byte("x"), false) != nil {
				return
			}
			for {
				b, err := r.Receive()
				if err != nil {
					_ = r.Send(nil, true)
					return
				}
				_ = r.Send(b, false)
			}
		}, peer.EchoTunnel()))
		c := tunneltest.Start(t, gw, tunneltest.Options{})
		first := c.App()
		if _, err := io.ReadFull(first, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		second := c.App()
		tunneltest.RoundTrip(t, second, "second")
		tunneltest.RoundTrip(t, first, "still here")
		if got := gw.Connections(); got != 2 {
			t.Errorf("%d connections", got)
		}
		finish(t, first)
		c.Eventually("cluster.edge.upstream_cx_destroy", 1)
		tunneltest.RoundTrip(t, second, "and so am I")
	})
}

// A GOAWAY that crosses the request: it is sent again, unseen.
func TestG17GoAwayCrossesRequest(t *testing.T) {
	tunneltest.ForModes(t, tunnel.Mode.Shared, func(t *testing.T, m tunnel.Mode) {
		gw := tunneltest.NewGateway(t, m, peer.InTurn(func(r *peer.Request) { _ = r.GoAway(0, 0) }, peer.EchoTunnel()))
		c := tunneltest.Start(t, gw, tunneltest.Options{})
		tunneltest.RoundTrip(t, c.App(), "twice")
		if got := gw.Connections(); got != 2 {
			t.Errorf("%d connections", got)
		}
	})
}

// Flows one after the other, and side by side, share a connection.
func TestG28FB22Reuse(t *testing.T) {
	tunneltest.ForModes(t, tunnel.Mode.Shared, func(t *testing.T, m tunnel.Mode) {
		gw := tunneltest.NewGateway(t, m, peer.EchoTunnel())
		c := tunneltest.Start(t, gw, tunneltest.Options{})
		for range 3 {
			app := c.App()
			tunneltest.RoundTrip(t, app, "one")
			finish(t, app)
		}
		var wg sync.WaitGroup
		for range 20 {
			app := c.App()
			wg.Go(func() { tunneltest.RoundTrip(t, app, "side by side") })
		}
		wg.Wait()
		if got := gw.Connections(); got != 1 {
			t.Errorf("%d connections", got)
		}
		if got := c.Value("cluster.edge.upstream_rq_total"); got != 23 {
			t.Errorf("upstream_rq_total %d", got)
		}
	})
}

// RFC 9931: an HTTP/1.1 connection carries one tunnel, whoever ended it and
// however.
func TestG29FB23NoReuse(t *testing.T) {
	tests := []struct {
		name   string
		script peer.Script
	}{
		{"application ends", peer.EchoTunnel()},
		{"gateway ends", func(r *peer.Request) {
			_ = r.Respond(200, false)
			b, _ := r.Receive()
			_ = r.Send(b, true)
		}},
		{"refused", peer.Answer(503)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tunneltest.ForModes(t, tunnel.Mode.Raw, func(t *testing.T, m tunnel.Mode) {
				gw := tunneltest.NewGateway(t, m, tt.script)
				c := tunneltest.Start(t, gw, tunneltest.Options{})
				for n := int64(1); n <= 3; n++ {
					_, err := c.Visit("x")
					if refused := tt.name == "refused"; tunneltest.IsReset(err) != refused || err != nil && !refused {
						t.Errorf("the application sees %v", err)
					}
					c.Eventually("cluster.edge.upstream_cx_active", 0)
					if got := gw.Connections(); got != n {
						t.Errorf("%d connections after %d flows", got, n)
					}
				}
			})
		})
	}
}

// A kept connection may be closed by the gateway as the next tunnel is asked for
// on it: the tunnel is asked for once more, and the application sees nothing.
func TestPostOnAConnectionThatIsClosed(t *testing.T) {
	post := func(m tunnel.Mode) bool { return !m.Shared() && !m.Raw() }
	tunneltest.ForModes(t, post, func(t *testing.T, m tunnel.Mode) {
		closing := func(r *peer.Request) { r.HangUp() }
		gw := tunneltest.NewGateway(t, m, peer.InTurn(peer.EchoTunnel(), closing, peer.EchoTunnel()))
		c := tunneltest.Start(t, gw, tunneltest.Options{})
		for range 2 {
			app := c.App()
			tunneltest.RoundTrip(t, app, "one")
			finish(t, app)
			c.Eventually("cluster.edge.upstream_rq_active", 0)
		}
		if got := gw.Connections(); got != 2 {
			t.Errorf("%d connections", got)
		}
	})
}

// A POST over HTTP/1.1 is a message with an end, so that a tunnel which ended
// cleanly both ways leaves a connection that is fit for the next; one that was
// broken off does not.
func TestG28FB22PostReuse(t *testing.T) {
	post := func(m tunnel.Mode) bool { return !m.Shared() && !m.Raw() }
	tunneltest.ForModes(t, post, func(t *testing.T, m tunnel.Mode) {
		gw := tunneltest.NewGateway(t, m, peer.EchoTunnel())
		c := tunneltest.Start(t, gw, tunneltest.Options{})
		for range 3 {
			app := c.App()
			tunneltest.RoundTrip(t, app, "one")
			finish(t, app)
			c.Eventually("cluster.edge.upstream_rq_active", 0)
		}
		if got := gw.Connections(); got != 1 {
			t.Errorf("%d connections", got)
		}
		app := c.App()
		tunneltest.RoundTrip(t, app, "x")
		_ = app.SetLinger(0)
		_ = app.Close()
		c.Eventually("cluster.edge.upstream_cx_active", 0)
		tunneltest.RoundTrip(t, c.App(), "two")
		if got := gw.Connections(); got != 2 {
			t.Errorf("%d connections", got)
		}
	})
}

// Connections with 20 tunnels in all die: every one ends with a reset, none
// stays.
func TestFB25ConnectionsDieWithTunnels(t *testing.T) {
	tunneltest.ForEachMode(t, func(t *testing.T, m tunnel.Mode) {
		gw := tunneltest.NewGateway(t, m, peer.EchoTunnel())
		c := tunneltest.Start(t, gw, tunneltest.Options{Format: "%RESPONSE_FLAGS%\n"})
		var apps []io.Reader
		for range 20 {
			app := c.App()
			tunneltest.RoundTrip(t, app, "up")
			apps = append(apps, app)
		}
		gw.Close()
		for _, app := range apps {
			_, err := app.Read(make([]byte, 1))
			if m.Raw() && !m.Secure && errors.Is(err, io.EOF) {
				_ = app.(interface{ CloseWrite() error }).CloseWrite() // it cannot know better
				continue
			}
			if !tunneltest.IsReset(err) {
				t.Errorf("an application sees %v", err)
			}
		}
		c.Records(20)
		c.Eventually("cluster.edge.upstream_cx_active", 0)
		c.Eventually("cluster.edge.upstream_rq_active", 0)
	})
}

// 80 applications of one connection leave at once: 80 resets, which are no flood
// of ours to the gateway, nor of the gateway's to us. The connection goes on.
func TestFB26AllLeaveAtOnce(t *testing.T) {
	const tunnels = 80
	tunneltest.ForModes(t, tunnel.Mode.Shared, func(t *testing.T, m tunnel.Mode) {
		resets := make(chan uint32, tunnels)
		gw := tunneltest.NewGateway(t, m, func(r *peer.Request) {
			peer.EchoTunnel()(r)
			if code, ok := r.ResetCode(); ok {
				resets <- code
			}
		})
		c := tunneltest.Start(t, gw, tunneltest.Options{})
		var apps []*net.TCPConn
		for range tunnels {
			app := c.App()
			tunneltest.RoundTrip(t, app, "up")
			apps = append(apps, app)
		}
		for _, app := range apps {
			_ = app.SetLinger(0)
			_ = app.Close()
		}
		for range tunnels {
			select {
			case code := <-resets:
				if code != 0xa {
					t.Fatalf("reset with code %#x", code)
				}
			case <-time.After(tunneltest.Limit):
				t.Fatal("not every tunnel was reset")
			}
		}
		c.Eventually("cluster.edge.upstream_rq_active", 0)
		tunneltest.RoundTrip(t, c.App(), "still here")
		if got := gw.Connections(); got != 1 {
			t.Errorf("%d connections", got)
		}
	})
}
