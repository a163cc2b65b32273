package hcm

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/tunnel"
)

// setup is what a gateway is configured with, besides what its test is not
// about.
type setup struct {
	routes  string // empty: every mode is terminated
	more    string // YAML of the connection manager
	cluster string // JSON members of the cluster, of which none is its name
	filters map[string]codec.Filter
}

// gateway is a manager that terminates tunnels of one mode, in front of a real
// cluster, with an access log.
type gateway struct {
	*wire
	mode   tunnel.Mode
	origin string // the cluster's only endpoint, if it has one
	up     *stats.Store
}

// recordFormat is what a gateway's log says of an exchange.
const recordFormat = "%ACCESS_LOG_TYPE% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% " +
	"%BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_HOST%"

var recordsLog = strings.Replace(stdoutLog, "%", `, log_format: {text_format_source: {inline_string: "`+recordFormat+`\n"}}`, 1)

// terminates is a gateway of a mode in front of one TCP origin, each of whose
// connections fn serves within the patience of a test.
func terminates(t *testing.T, m tunnel.Mode, s setup, fn func(*net.TCPConn)) *gateway {
	t.Helper()
	return gatewayTo(t, m, s, serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		_ = c.SetDeadline(time.Now().Add(soon))
		fn(c)
	}))
}

// gatewayTo is a gateway in front of the endpoint origin; none if it is empty.
func gatewayTo(t *testing.T, m tunnel.Mode, s setup, origin string) *gateway {
	t.Helper()
	return gatewayAt(t, m, s, origin, "127.0.0.1:0")
}

// gatewayAt is gatewayTo at an address of its own.
func gatewayAt(t *testing.T, m tunnel.Mode, s setup, origin, listen string) *gateway {
	t.Helper()
	g := &gateway{mode: m, origin: origin, up: stats.NewStore()}
	text := s.cluster
	if origin != "" {
		text = loadAssignment(t, origin) + comma(text)
	}
	c := clusterIn(t, g.up, `{"name":"c"`+comma(text)+`}`)
	routes := s.routes
	if routes == "" {
		routes = terminateRoute + "," + postRoute
	}
	g.wire = serveAt(t, listen, with(routes, recordsLog+"\n"+s.more), c, s.filters, m.Secure)
	return g
}

func comma(members string) string {
	if members == "" {
		return ""
	}
	return "," + members
}

func loadAssignment(t *testing.T, endpoint string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`"load_assignment":{"cluster_name":"c","endpoints":[{"lb_endpoints":[{"endpoint":{"address":
		{"socket_address":{"address":"%s","port_value":%s}}}}]}]}`, host, port)
}

// serveTCP listens until the test ends; fn serves each connection. It returns
// the address.
func serveTCP(t *testing.T, address string, fn func(*net.TCPConn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { // ends when the listener is closed
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); fn(c.(*net.TCPConn)) }) // ends with fn
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// wants checks the records of all exchanges, which are over or soon will be;
// then there is no log any more. They are DownstreamEnd unless they say another
// type, of the mode's version, and an endpoint is called origin.
func (g *gateway) wants(records ...string) {
	g.t.Helper()
	n := 0
	for i, r := range records {
		if !strings.HasPrefix(r, "Downstream") {
			r = "DownstreamEnd " + r
		}
		kind, rest, _ := strings.Cut(r, " ")
		records[i] = kind + " " + g.mode.Proto.String() + " " + rest
		if kind == "DownstreamEnd" {
			n++
		}
	}
	g.settle(n)
	got := strings.Join(g.records(), "\n")
	if g.origin != "" {
		got = strings.ReplaceAll(got, g.origin, "origin")
	}
	if want := strings.Join(records, "\n"); got != want {
		g.t.Errorf("records\n%s\nwant\n%s", got, want)
	}
}

// settle waits until n exchanges are over, and no more are under way.
func (w *wire) settle(n int) {
	w.t.Helper()
	for deadline := time.Now().Add(soon); w.stat("downstream_rq_completed") != int64(n) || w.flows.Len() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("%d exchanges are over, %d under way; want %d and none", w.stat("downstream_rq_completed"), w.flows.Len(), n)
		}
	}
}

// counted checks the manager's metrics and the cluster's (upstream_ and the
// like), of exchanges that are over.
func (g *gateway) counted(want map[string]int64) {
	g.t.Helper()
	for name, n := range want {
		store, full := g.store, "http.in."+name
		if !strings.HasPrefix(name, "downstream_") {
			store, full = g.up, "cluster.c."+name
		}
		reaches(g.t, store, full, n)
	}
}

// reaches waits until a metric has its value: some are counted when the record is
// written already, or the answer read.
func reaches(t *testing.T, store *stats.Store, name string, want int64) {
	t.Helper()
	got, ok := store.Value(name)
	for deadline := time.Now().Add(soon); ok && got != want && time.Now().Before(deadline); got, ok = store.Value(name) {
		time.Sleep(time.Millisecond)
	}
	if !ok || got != want {
		t.Errorf("%s: %d (known: %v), want %d", name, got, ok, want)
	}
}

// dialFor connects as a client of a version.
func (w *wire) dialFor(p codec.Proto) network.Conn {
	w.t.Helper()
	c := w.dial1
	if p == codec.HTTP2 {
		c = w.dial
	}
	conn := c()
	_ = conn.SetDeadline(time.Now().Add(soon))
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// speakOn is our own client of a version on a connection, which the client
// owns from then on.
func speakOn(t *testing.T, c network.Conn, p codec.Proto) httpClient {
	t.Helper()
	var cc httpClient
	if p == codec.HTTP2 {
		cc = h2.NewClientConn(c, h2.Config{})
	} else {
		cc = h1.NewClientConn(c, h1.Config{})
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = cc.Run(context.Background()) }) // ends with Close
	t.Cleanup(func() { cc.Close(nil); wg.Wait() })
	return cc
}

// established opens a tunnel on a connection.
func (g *gateway) established(cc httpClient) codec.ClientStream {
	g.t.Helper()
	return g.tunnelOn(cc, g.mode)
}

// over checks that the connection of a tunnel that ended cleanly is what its
// version makes of it: closed with an HTTP/1.1 CONNECT, else good for another.
func (g *gateway) over(cc httpClient, s codec.ClientStream) {
	g.t.Helper()
	_ = s.Close()
	if g.mode.Raw() {
		g.disconnected()
		return
	}
	if !cc.CanOpen() {
		g.t.Error("the connection is not good for another exchange")
	}
}

// disconnected waits for the end of a connection, which was in order.
func (w *wire) disconnected() {
	w.t.Helper()
	if err := received(w.t, w.errs); err != nil {
		w.t.Errorf("the connection ended with %v", err)
	}
}

// received is what comes from a channel, which must be soon.
func received[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(soon):
		t.Fatal("nothing comes")
		panic("unreachable")
	}
}
