package appliance

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"culvert/proxy/network"
	"culvert/test/peer"
	"culvert/test/ports"
)

// webTemplate is directTemplate with an inbound listener beside it that answers
// HTTP requests of either version itself.
const webTemplate = `
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: {{.}}}}
    traffic_direction: INBOUND
    filter_chains:
    - filters:
      - name: web
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
          route_config:
            virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200, body: {inline_string: here}}}]}]
  clusters:`

// operated is an appliance with an operator: its admin, a listener for TCP, and
// one for HTTP.
type operated struct {
	*directWorld
	*served
	web string // port
}

func newOperated(t *testing.T, drainTime time.Duration) *operated {
	t.Helper()
	o := &operated{directWorld: newDirectWorld(t, peer.Echo()), web: fmt.Sprint(ports.Free(t, 1)[0])}
	config := strings.Replace(o.config, "\n  clusters:", render(t, webTemplate, o.web), 1)
	o.served = serve(t, config, drainTime)
	return o
}

// post asks for a switch.
func (o *operated) post(t *testing.T, path string) (int, string) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", o.Admin)
		},
	}, Timeout: patience}
	res, err := c.Post("http://localhost"+path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// switches asks for one that works.
func (o *operated) switches(t *testing.T, path string) {
	t.Helper()
	if code, body := o.post(t, path); code != 200 || body != "OK\n" {
		t.Fatalf("%s: %d %q", path, code, body)
	}
}

// client speaks one version of HTTP.
func client(t *testing.T, h2 bool) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// ask is whether the answer came, and says that it is the connection's last.
func (o *operated) ask(t *testing.T, c *http.Client) (last bool) {
	t.Helper()
	res, err := c.Get("http://127.0.0.1:" + o.web)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "here" {
		t.Fatalf("%q, %v", body, err)
	}
	return res.Close
}

func (o *operated) connections() int64 {
	return o.value("listener.127.0.0.1_" + o.web + ".downstream_cx_total")
}

func (o *operated) refuses(port string) bool {
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return true
	}
	_ = c.Close()
	return false
}

// N04: while the health check is failed we say so, and to clients at their next
// answer that they had better come by another way. What is open stays open.
func TestN04HealthCheckFailed(t *testing.T) {
	o := newOperated(t, time.Minute)
	tunnel := o.dial(t)
	one, two := client(t, false), client(t, true)
	if o.ask(t, one) || o.ask(t, two) {
		t.Error("a connection is to end although all is well")
	}
	begun := o.connections()
	o.ask(t, two)
	if o.connections() != begun {
		t.Error("HTTP/2: another connection although all is well")
	}
	o.switches(t, "/healthcheck/fail")
	if code, body, err := o.get("/ready"); code != 503 || body != "DRAINING\n" {
		t.Errorf("/ready: %d %q, %v", code, body, err)
	}
	if o.value("server.live") != 0 || o.value("server.state") != 1 {
		t.Error("server.live, server.state: not draining")
	}
	for range 2 {
		if !o.ask(t, one) {
			t.Error("HTTP/1.1: no connection: close")
		}
		sent, before := o.value("http2.goaway_sent"), o.connections()
		o.ask(t, two) // HTTP/2: its connection, or one that comes now
		if o.value("http2.goaway_sent") == sent {
			t.Error("HTTP/2: no GOAWAY")
		}
		o.ask(t, two)
		if o.connections() == before {
			t.Error("HTTP/2: the connection goes on")
		}
	}
	if err := echoes(tunnel); err != nil {
		t.Errorf("what was open: %v", err)
	}
	o.switches(t, "/healthcheck/ok")
	if code, body, err := o.get("/ready"); code != 200 || body != "LIVE\n" {
		t.Errorf("/ready: %d %q, %v", code, body, err)
	}
	for range 2 { // on one connection
		if o.ask(t, one) {
			t.Error("HTTP/1.1: connection: close although all is well again")
		}
	}
	o.ask(t, two) // a connection that comes now; those before it may still be saying their second GOAWAY
	before := o.connections()
	for range 2 {
		o.ask(t, two)
	}
	if o.connections() != before {
		t.Error("HTTP/2: the connection ends although all is well again")
	}
}

// N05, N06: ports refuse at once, what is open goes on; a reload listens again.
func TestN05N06DrainListeners(t *testing.T) {
	o := newOperated(t, time.Minute)
	if code, body := o.post(t, "/drain_listeners?skip_exit"); code != 400 {
		t.Errorf("%d %q", code, body)
	}
	open := o.dial(t)
	if err := echoes(open); err != nil {
		t.Fatal(err)
	}
	o.switches(t, "/drain_listeners?inboundonly")
	if !o.refuses(o.web) || o.refuses(o.Front) {
		t.Error("want that only the inbound listener refuses")
	}
	o.switches(t, "/drain_listeners")
	o.switches(t, "/drain_listeners") // nothing is left to stop
	if !o.refuses(o.Front) {
		t.Error("the listener does not refuse")
	}
	o.counts(t, map[string]int64{"listener_manager.listener_stopped": 2})
	if code, _, err := o.get("/ready"); code != 200 {
		t.Errorf("/ready: %d, %v", code, err)
	}
	if err := echoes(open); err != nil {
		t.Errorf("what was open: %v", err)
	}
	if err := o.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o.refuses(o.Front) {
		t.Error("a reload does not listen again")
	}
}

// N05: gracefully, clients are told first, the port refuses after the drain
// time, and with skip_exit not at all.
func TestN05DrainListenersGracefully(t *testing.T) {
	const drainTime = 300 * time.Millisecond
	o := newOperated(t, drainTime)
	c := client(t, false)
	if o.ask(t, c) {
		t.Error("connection: close although all is well")
	}
	began := time.Now()
	o.switches(t, "/drain_listeners?graceful")
	if !o.ask(t, c) { // on the connection that is open, whether or not the port refuses by now
		t.Error("no connection: close")
	}
	eventually(t, "the ports refuse", func() bool { return o.refuses(o.web) && o.refuses(o.Front) })
	if waited := time.Since(began); waited < drainTime {
		t.Errorf("the ports refuse after %v, want %v", waited, drainTime)
	}

	stays := newOperated(t, 50*time.Millisecond)
	stays.switches(t, "/drain_listeners?graceful&skip_exit")
	c = client(t, false)
	for range 2 {
		if !stays.ask(t, c) {
			t.Error("skip_exit: no connection: close")
		}
	}
	eventually(t, "it is over", func() bool { return strings.Contains(stays.log.String(), `msg="drained listeners"`) })
	if stays.refuses(stays.web) || stays.value("listener_manager.listener_stopped") != 0 {
		t.Error("skip_exit: a listener was stopped")
	}
}

// A process that is asked to quit drains as SIGTERM makes it. The SIGTERM that a
// supervisor sends behind such a request asks for what is being done; only the
// next one ends it.
func TestQuit(t *testing.T) {
	o := newOperated(t, time.Minute)
	open := o.dial(t)
	if err := echoes(open); err != nil {
		t.Fatal(err)
	}
	o.switches(t, "/quitquitquit")
	eventually(t, "it drains", func() bool { return o.stateIs(stateDraining) })
	if err := echoes(open); err != nil {
		t.Errorf("what was open: %v", err)
	}
	o.drain()
	eventually(t, "the signal is taken note of", func() bool { return strings.Contains(o.log.String(), "already draining") })
	if err := echoes(open); err != nil || o.ended() {
		t.Errorf("after a first signal: %v", err)
	}
	o.kill()
	if err := o.served.wait(t); err != nil {
		t.Error(err)
	}
	if _, err := open.Read(make([]byte, 1)); !network.IsReset(err) {
		t.Errorf("after a second signal: %v, want a reset", err)
	}
}

// A process that was asked to quit ends by itself with the last flow.
func TestQuitEnds(t *testing.T) {
	o := newOperated(t, time.Minute)
	open := o.dial(t)
	if err := echoes(open); err != nil {
		t.Fatal(err)
	}
	o.switches(t, "/quitquitquit")
	_ = open.Close()
	if err := o.served.wait(t); err != nil {
		t.Error(err)
	}
}
