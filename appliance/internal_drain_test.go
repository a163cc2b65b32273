package appliance

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/appliance/admin"
	"culvert/test/need"
	"culvert/test/peer"
	"culvert/test/ports"
	"culvert/test/topology"
)

// oneRequestEach has each request make a connection of its own.
const oneRequestEach = `{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions,
      common_http_protocol_options: {max_requests_per_connection: 1}, explicit_http_config: {http2_protocol_options: {}}}}`

// K07: an internal listener has no socket to stop: while all others refuse, what
// is open still finds it, and makes connections to it.
func TestK07DrainedListenersAreReachedInside(t *testing.T) {
	p := ports.Free(t, 2)
	text := render(t, httpChain, map[string]any{
		"KB": 64, "Front": p[0], "Gateway": p[1], "Origin": echoHTTP2(t),
		"HCM": hcmType, "Router": routerFilter, "HTTP2": http2Options,
	})
	s := serve(t, strings.Replace(text, http2Options, oneRequestEach, 1), time.Minute) // of the first cluster, inner
	client := http2Client()
	defer client.CloseIdleConnections()
	ask := func() int {
		t.Helper()
		res, err := client.Get("http://" + loopback(p[0]) + "/")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	if status := ask(); status != 200 {
		t.Fatalf("before: %d", status)
	}
	controls{s.Appliance}.DrainListeners(admin.Drain{})
	for _, port := range p {
		if c, err := net.Dial("tcp", loopback(port)); err == nil {
			_ = c.Close()
			t.Errorf("port %d does not refuse", port)
		}
	}
	before := s.value("listener.envoy_internal_inner.downstream_cx_total")
	if status := ask(); status != 200 {
		t.Errorf("after: %d", status)
	}
	s.counts(t, map[string]int64{
		"listener.envoy_internal_inner.downstream_cx_total": before + 1,
		"listener_manager.listener_stopped":                 2, // the two with sockets
	})
}

// K07: a TUN captures into an internal listener, and goes on when listeners are
// drained: the host behind it has no other way out. It ends with the process.
//
//	app: lo, culvert0 ── netstack: 198.18.0.10:80 ── inside ── origin (here)
func TestK07CaptureOutlivesDrain(t *testing.T) {
	need.Root(t)
	need.TUN(t)
	app := topology.New(t).Host("app")
	origin := peer.Serve(t, listen(t), peer.Echo())
	w := newBoundWorld(t, "198.18.0.10:80", origin.Addr())
	w.Device = fmt.Sprintf(`name: culvert0, netns: %q, addresses: [198.18.0.1/32]`, app.Path())
	s := serve(t, render(t, boundConfig, w), time.Minute)
	dial := func() net.Conn {
		t.Helper()
		c, err := app.Dial("tcp", "198.18.0.10:80")
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		if err := echoes(c); err != nil {
			t.Error(err)
		}
		return c
	}
	open := dial()
	controls{s.Appliance}.DrainListeners(admin.Drain{})
	if _, err := net.Dial("tcp", loopback(w.Front)); err == nil {
		t.Error("the listener does not refuse")
	}
	_ = dial().Close()
	if err := echoes(open); err != nil {
		t.Errorf("what was open: %v", err)
	}
	controls{s.Appliance}.Quit()
	eventually(t, "it drains", func() bool { return s.stateIs(stateDraining) })
	eventually(t, "nothing more is captured", func() bool {
		c, err := app.Dial("tcp", "198.18.0.10:80")
		if err == nil {
			_ = c.Close()
		}
		return err != nil && strings.Contains(err.Error(), "unreachable")
	})
	if err := echoes(open); err != nil {
		t.Errorf("what was open: %v", err)
	}
	_ = open.Close()
	if err := s.wait(t); err != nil {
		t.Error(err)
	}
}

// N06: a tunnel that is open goes on, whatever stops its listeners, until it
// ends, and its bytes are whole.
func TestN06TunnelDuringDrain(t *testing.T) {
	for name, stop := range map[string]func(*served){
		"N06 drain_listeners":           func(s *served) { controls{s.Appliance}.DrainListeners(admin.Drain{}) },
		"N06 drain_listeners, graceful": func(s *served) { controls{s.Appliance}.DrainListeners(admin.Drain{Graceful: true}) },
		"N06 failed health check":       func(s *served) { controls{s.Appliance}.SetHealthCheck(false) },
		"N06 SIGTERM":                   func(s *served) { s.drain() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newTunnelWorld(t)
			s := serve(t, w.config(w.origin('a')), time.Minute)
			x := w.transfer('a')
			x.flows(t)
			stop(s)
			x.flows(t)
			x.flows(t)
			x.finish(t)
		})
	}
}

// N06: what bounds a connection bounds it in a drain as well.
func TestN06BoundDuringDrain(t *testing.T) {
	w := newDirectWorld(t, peer.Echo())
	s := serve(t, strings.Replace(w.config, "stat_prefix: direct\n", "stat_prefix: direct\n          max_downstream_connection_duration: 0.5s\n", 1), time.Hour)
	w.dial(t)
	const ended = "tcp.direct.max_downstream_connection_duration"
	eventually(t, "the flow is there, or was", func() bool { return s.flows.Len() == 1 || s.value(ended) == 1 })
	s.drain()
	if err := s.wait(t); err != nil {
		t.Error(err)
	}
	s.counts(t, map[string]int64{ended: 1})
}
