package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// rig is a server over its real collaborators.
type rig struct {
	*Server
	state   string
	store   *stats.Store
	flows   *network.FlowTable
	control *control
	level   slog.LevelVar
	deps    Deps
}

func newRig(change ...func(*Deps)) *rig {
	r := &rig{state: "LIVE", store: stats.NewStore(), flows: network.NewFlowTable()}
	r.control = &control{store: r.store}
	r.deps = Deps{
		State: func() string { return r.state }, Stats: r.store, Flows: r.flows,
		Listeners: func() []ListenerStatus {
			return []ListenerStatus{{"front", "127.0.0.1:10000"}, {"capture", "envoy://capture/"}}
		},
		Control: r.control, Level: &r.level, Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&r.deps)
	}
	r.Server = New(r.deps)
	return r
}

func (r *rig) get(path string) *httptest.ResponseRecorder {
	return r.do(http.MethodGet, path, "127.0.0.1")
}

func (r *rig) do(method, path, host string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, nil)
	req.Host = host
	w := httptest.NewRecorder()
	r.serve(w, req)
	return w
}

func TestReady(t *testing.T) {
	r := newRig()
	for state, code := range map[string]int{"LIVE": 200, "DRAINING": 503, "INITIALIZING": 503} {
		r.state = state
		if w := r.get("/ready"); w.Code != code || w.Body.String() != state+"\n" {
			t.Errorf("%s: %d %q, want %d", state, w.Code, w.Body, code)
		}
	}
}

const help = `  /: Admin home page
  /certs: print certs on machine
  /clusters: upstream cluster status
  /config_dump: dump current configuration, without secrets
  /drain_listeners (POST): drain listeners
  /flows: print live and recently ended flows
  /healthcheck/fail (POST): cause the server to fail health checks
  /healthcheck/ok (POST): cause the server to pass health checks
  /help: print out list of admin commands
  /listeners: print listener info
  /logging (POST): query/change logging levels
  /memory: print current allocation/heap usage
  /quitquitquit (POST): exit the server
  /ready: print server state, return 200 if LIVE, otherwise return 503
  /reopen_logs (POST): reopen access logs
  /reset_counters (POST): reset all counters to zero
  /server_info: print server version/status information
  /stats: print server stats
  /stats/prometheus: print server stats in prometheus format
`

// Each page, and each answer that is none: N01, N02 and our own.
func TestPages(t *testing.T) {
	r := newRig()
	r.store.Scope("cluster.edge.", stats.Tag{Name: "envoy_cluster_name", Value: "edge"}).Counter("upstream_cx_total").Add(3)
	r.store.Scope("cluster.edge.", stats.Tag{Name: "envoy_cluster_name", Value: "edge"}).Counter("upstream_rq_total")
	r.store.Scope("server.").Gauge("live").Set(1)
	r.store.Scope("listener.<script>alert(1)</script>.").Counter("x").Inc()
	const text, plain = "text/plain; charset=UTF-8", "text/plain; charset=utf-8"
	const all = "cluster.edge.upstream_cx_total: 3\ncluster.edge.upstream_rq_total: 0\n" +
		"listener.<script>alert(1)</script>.x: 1\nserver.live: 1\n"
	tests := []struct {
		name, method, path, host string
		code                     int
		contentType, body        string
	}{
		{"help", "GET", "/help", "localhost", 200, text, "admin commands are:\n" + help},
		{"N02 unknown path", "GET", "/nothing", "localhost", 404, text, "invalid path. admin commands are:\n" + help},
		{"unknown path below a page", "GET", "/stats/nothing", "localhost", 404, text, "invalid path. admin commands are:\n" + help},
		{"N01 GET of a switch", "GET", "/quitquitquit", "localhost", 405, plain, "Method GET not allowed, POST required.\n"},
		{"N01 HEAD of a switch", "HEAD", "/reset_counters", "localhost", 405, plain, "Method HEAD not allowed, POST required.\n"},
		{"foreign host of a switch", "POST", "/quitquitquit", "evil.example", 403, plain, "host evil.example is not this admin's: use its IP address or localhost\n"},
		{"text readouts", "GET", "/stats?type=TextReadouts", "127.0.0.1", 200, text, ""},
		{"N01 method", "POST", "/stats", "localhost", 405, plain, "Method POST not allowed, GET required.\n"},
		{"foreign host", "GET", "/flows", "evil.example", 403, plain, "host evil.example is not this admin's: use its IP address or localhost\n"},
		{"foreign host with port", "GET", "/flows", "evil.example:9901", 403, plain, "host evil.example:9901 is not this admin's: use its IP address or localhost\n"},
		{"host that looks local", "GET", "/ready", "localhost.evil.example", 403, plain, "host localhost.evil.example is not this admin's: use its IP address or localhost\n"},
		{"IPv6 host", "GET", "/ready", "[::1]:9901", 200, text, "LIVE\n"},
		{"no host", "GET", "/ready", "", 200, text, "LIVE\n"},
		{"upper-case host", "GET", "/ready", "LOCALHOST:1", 200, text, "LIVE\n"},
		{"N09 stats", "GET", "/stats", "127.0.0.1", 200, text, all},
		{"N09 usedonly", "GET", "/stats?usedonly", "127.0.0.1", 200, text, strings.Replace(all, "cluster.edge.upstream_rq_total: 0\n", "", 1)},
		{"N09 filter", "GET", "/stats?filter=upstream_.x", "127.0.0.1", 200, text, "cluster.edge.upstream_cx_total: 3\n"},
		{"bad filter", "GET", "/stats?filter=(", "127.0.0.1", 400, plain, "filter: error parsing regexp: missing closing ): `(`\n"},
		{"type", "GET", "/stats?type=Gauges", "127.0.0.1", 200, text, "server.live: 1\n"},
		{"bad format", "GET", "/stats?format=xml", "127.0.0.1", 400, plain, "usage: /stats?format=json|prometheus\n"},
		{"listeners", "GET", "/listeners", "127.0.0.1", 200, text, "front::127.0.0.1:10000\ncapture::envoy://capture/\n"},
		{"listeners as JSON", "GET", "/listeners?format=json", "127.0.0.1", 200, "application/json",
			"{\n \"listener_statuses\": [\n  {\n   \"name\": \"front\",\n   \"local_address\": \"127.0.0.1:10000\"\n  },\n" +
				"  {\n   \"name\": \"capture\",\n   \"local_address\": \"envoy://capture/\"\n  }\n ]\n}\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := r.do(tt.method, tt.path, tt.host)
			if w.Code != tt.code || w.Body.String() != tt.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tt.code, tt.body)
			}
			h := w.Header()
			if got := h.Get("Content-Type"); got != tt.contentType {
				t.Errorf("content type %q, want %q", got, tt.contentType)
			}
			// What a listener is called is no markup: a browser must not guess.
			if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-cache, max-age=0" {
				t.Errorf("headers %v", h)
			}
			if tt.code == 405 && h.Get("Allow") == tt.method {
				t.Errorf("Allow %q", h.Get("Allow"))
			}
		})
	}
	if w := r.do(http.MethodHead, "/ready", "localhost"); w.Code != 200 {
		t.Errorf("HEAD: %d", w.Code)
	}
}

func TestN09StatsFormats(t *testing.T) {
	r := newRig()
	r.store.Scope("cluster.edge.", stats.Tag{Name: "envoy_cluster_name", Value: "edge"}).Counter("upstream_cx_total").Add(3)
	r.store.Scope("server.").Gauge("live").Set(1)
	var got struct {
		Stats []struct {
			Name  string
			Value int64
		}
	}
	w := r.get("/stats?format=json&filter=cluster")
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Stats) != 1 ||
		got.Stats[0].Name != "cluster.edge.upstream_cx_total" || got.Stats[0].Value != 3 {
		t.Errorf("JSON %s, %v", w.Body, err)
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/json" {
		t.Errorf("content type %q", ct)
	}
	for _, path := range []string{"/stats/prometheus?filter=cluster", "/stats?format=prometheus&filter=cluster"} {
		w := r.get(path)
		if want := "envoy_cluster_upstream_cx_total{envoy_cluster_name=\"edge\"} 3\n"; !strings.Contains(w.Body.String(), want) || strings.Contains(w.Body.String(), "server_live") {
			t.Errorf("%s: %s, want %s", path, w.Body, want)
		}
		if ct := w.Header().Get("Content-Type"); !strings.HasPrefix(ct, "text/plain; version=0.0.4") {
			t.Errorf("content type %q", ct)
		}
	}
}

func TestCheckAddress(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:9901": true, "127.9.9.9:1": true, "[::1]:9901": true, "[::ffff:127.0.0.1]:1": true,
		"0.0.0.0:9901": false, "[::]:9901": false, "192.0.2.1:9901": false, "[::ffff:192.0.2.1]:1": false,
	} {
		err := CheckAddress(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address)))
		if (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
		if err != nil && !strings.Contains(err.Error(), "can be reached from other hosts: use 127.0.0.1, ::1 or a unix socket") {
			t.Errorf("%s: %v does not say what to do", address, err)
		}
	}
	if err := CheckAddress(&net.UnixAddr{Name: "/run/admin.sock", Net: "unix"}); err != nil {
		t.Error(err)
	}
}

// Serve answers over a real socket, and ends with its context although a
// connection is open.
func TestServe(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- newRig().Serve(ctx, ln) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, "GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 15)
	if _, err := io.ReadFull(c, head); err != nil || string(head) != "HTTP/1.1 200 OK" {
		t.Errorf("answer %q, %v", head, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("the connection: %v", err)
	}
}

func TestServeFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := newRig().Serve(t.Context(), ln); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v, want that the socket is closed", err)
	}
}
