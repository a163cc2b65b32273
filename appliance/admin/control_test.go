package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"culvert/proxy/stats"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// control notes what it was told.
type control struct {
	store  *stats.Store
	told   []string
	reopen error
}

func (c *control) tell(format string, args ...any) {
	c.told = append(c.told, fmt.Sprintf(format, args...))
}
func (c *control) SetHealthCheck(ok bool)   { c.tell("health %t", ok) }
func (c *control) DrainListeners(how Drain) { c.tell("drain %+v", how) }
func (c *control) Quit()                    { c.tell("quit") }
func (c *control) ReopenLogs() error        { c.tell("reopen"); return c.reopen }
func (c *control) ResetCounters()           { c.store.ResetCounters(); c.tell("reset") }

// N04, N05 and their neighbours: each switch does what it says, by POST.
func TestN04N05Switches(t *testing.T) {
	tests := []struct {
		path string
		code int
		body string
		told []string
	}{
		{"/healthcheck/fail", 200, "OK\n", []string{"health false"}},
		{"/healthcheck/ok", 200, "OK\n", []string{"health true"}},
		{"/drain_listeners", 200, "OK\n", []string{"drain {InboundOnly:false Graceful:false SkipExit:false}"}},
		{"/drain_listeners?inboundonly", 200, "OK\n", []string{"drain {InboundOnly:true Graceful:false SkipExit:false}"}},
		{"/drain_listeners?graceful&skip_exit", 200, "OK\n", []string{"drain {InboundOnly:false Graceful:true SkipExit:true}"}},
		{"/drain_listeners?skip_exit", 400, "skip_exit requires graceful\n", nil},
		{"/quitquitquit", 200, "OK\n", []string{"quit"}},
		{"/reopen_logs", 200, "OK\n", []string{"reopen"}},
		{"/reset_counters", 200, "OK\n", []string{"reset"}},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			r := newRig()
			n := r.store.Scope("a.").Counter("b")
			n.Inc()
			if w := r.get(tt.path); w.Code != http.StatusMethodNotAllowed || len(r.control.told) > 0 {
				t.Errorf("GET: %d, told %q", w.Code, r.control.told)
			}
			w := r.do(http.MethodPost, tt.path, "localhost")
			if w.Code != tt.code || w.Body.String() != tt.body || !slices.Equal(r.control.told, tt.told) {
				t.Errorf("%d %q, told %q, want %d %q %q", w.Code, w.Body, r.control.told, tt.code, tt.body, tt.told)
			}
			if reset := tt.path == "/reset_counters"; (n.Value() == 0) != reset {
				t.Errorf("the counter is %d", n.Value())
			}
		})
	}
}

func TestReopenFails(t *testing.T) {
	r := newRig()
	r.control.reopen = errors.New("open /gone: no such file")
	if w := r.do(http.MethodPost, "/reopen_logs", "localhost"); w.Code != 500 || w.Body.String() != "open /gone: no such file\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// A page of another site changes nothing, whatever a browser lets it send.
func TestForeignOrigin(t *testing.T) {
	tests := []struct {
		name   string
		header map[string]string
		code   int
	}{
		{"a program", nil, 200},
		{"our own page", map[string]string{"Origin": "http://127.0.0.1:9901", "Sec-Fetch-Site": "same-origin"}, 200},
		{"our own page in an old browser", map[string]string{"Origin": "http://127.0.0.1:9901"}, 200},
		{"typed in", map[string]string{"Sec-Fetch-Site": "none"}, 200},
		{"another site", map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 403},
		{"another site in an old browser", map[string]string{"Origin": "https://evil.example"}, 403},
		{"a sandboxed frame", map[string]string{"Origin": "null"}, 403},
		{"another port of this host", map[string]string{"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-site"}, 403},
		{"another port in an old browser", map[string]string{"Origin": "http://127.0.0.1:8080"}, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, path := range []string{"/quitquitquit", "/reset_counters", "/healthcheck/fail", "/drain_listeners", "/reopen_logs", "/logging?level=debug", "/healthcheck/ok"} {
				r := newRig()
				req := httptest.NewRequest(http.MethodPost, path, nil)
				req.Host = "127.0.0.1:9901"
				for k, v := range tt.header {
					req.Header.Set(k, v)
				}
				w := httptest.NewRecorder()
				r.serve(w, req)
				changed := len(r.control.told) > 0 || r.level.Level() != slog.LevelInfo
				if w.Code != tt.code || changed != (tt.code == 200) {
					t.Errorf("%s: %d %q, changed: %t", path, w.Code, w.Body, changed)
				}
			}
		})
	}
}

// N10: levels change while we run; what cannot be done is not done in silence.
func TestN10Logging(t *testing.T) {
	list := func(level string) string { return "active loggers:\n  culvert: " + level + "\n" }
	tests := []struct {
		query string
		code  int
		body  string
		level slog.Level
	}{
		{"", 200, list("info"), slog.LevelInfo},
		{"?level=debug", 200, list("debug"), slog.LevelDebug},
		{"?level=trace", 200, list("debug"), slog.LevelDebug},
		{"?level=warning", 200, list("warning"), slog.LevelWarn},
		{"?level=critical", 200, list("error"), slog.LevelError},
		{"?level=off", 200, list("off"), LevelOff},
		{"?culvert=error", 200, list("error"), slog.LevelError},
		{"?paths=culvert:debug", 200, list("debug"), slog.LevelDebug},
		{"?router=trace", 400, loggingUsage, slog.LevelInfo},
		{"?paths=router:trace", 400, loggingUsage, slog.LevelInfo},
		{"?level=loud", 400, loggingUsage, slog.LevelInfo},
		{"?level=", 400, loggingUsage, slog.LevelInfo},
		{"?level=debug&culvert=info", 400, loggingUsage, slog.LevelInfo},
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			r := newRig()
			w := r.do(http.MethodPost, "/logging"+tt.query, "localhost")
			if w.Code != tt.code || w.Body.String() != tt.body || r.level.Level() != tt.level {
				t.Errorf("%d %q and %v, want %d %q and %v", w.Code, w.Body, r.level.Level(), tt.code, tt.body, tt.level)
			}
		})
	}
	fixed := newRig(func(d *Deps) { d.Level = nil })
	if w := fixed.do(http.MethodPost, "/logging?level=debug", "localhost"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("without a level: %d", w.Code)
	}
}

// N03: what allow_paths does not name is not answered, were it there or not.
func TestN03AllowPaths(t *testing.T) {
	exact := func(s string) *matcherv3.StringMatcher {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: s}}
	}
	regex := func(s string) *matcherv3.StringMatcher {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: s}}}
	}
	paths, err := NewPaths([]*matcherv3.StringMatcher{
		exact("/ready"), regex("/list.*rs"),
		{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "/STATS"}, IgnoreCase: true},
		{MatchPattern: &matcherv3.StringMatcher_Suffix{Suffix: "_counters"}},
		{MatchPattern: &matcherv3.StringMatcher_Contains{Contains: "eopen"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(func(d *Deps) { d.Paths = func() *Paths { return paths } })
	for path, code := range map[string]int{
		"/ready": 200, "/listeners": 200, "/stats?usedonly": 200, "/stats/prometheus": 200,
		"/reset_counters": 405, "/reopen_logs": 405,
		"/readyx": 403, "/flows": 403, "/help": 403, "/": 403, "/xlisteners": 403, "/nothing": 403, "/flows?/ready": 403,
	} {
		w := r.get(path)
		if w.Code != code {
			t.Errorf("%s: %d, want %d", path, w.Code, code)
		}
	}
	if w := r.get("/flows?format=json"); w.Body.String() != "request to path /flows not allowed\n" {
		t.Errorf("%q", w.Body)
	}
	for _, bad := range []*matcherv3.StringMatcher{regex("("), {}} {
		if _, err := NewPaths([]*matcherv3.StringMatcher{exact("/ready"), bad}); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}
