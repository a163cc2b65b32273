package route

import (
	"testing"
	"time"

	"culvert/proxy/codec"
)

func TestD05PrefixRewrite(t *testing.T) {
	for _, c := range []struct {
		name, match string
		req         *codec.Request
		want        string
	}{
		{"CONNECT with path", `{"connect_matcher":{}}`, withPath(connect("h:80"), "/api?x=1"), "/rewrote?x=1"},
		{"CONNECT without path", `{"connect_matcher":{}}`, connect("h:80"), ""},
		{"prefix", `{"prefix":"/api"}`, get("/api/v1?x=1"), "/rewrote/v1?x=1"},
		{"path", `{"path":"/api"}`, get("/api#f"), "/rewrote#f"},
		{"case-insensitive prefix", `{"prefix":"/API","case_sensitive":false}`, get("/api/v1"), "/rewrote/v1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tab := routes(t, `{"match":`+c.match+`,"route":{"cluster":"c","prefix_rewrite":"/rewrote","host_rewrite_literal":"up"}}`)
			d := tab.Match(c.req, 0)
			d.Route.Forward.Rewrite(c.req)
			if c.req.Path != c.want || c.req.Authority != "up" {
				t.Errorf("path %q authority %q, want %q and up", c.req.Path, c.req.Authority, c.want)
			}
			if c.req.HasPath != c.req.Header.Has("x-envoy-original-path") {
				t.Errorf("x-envoy-original-path: %v", c.req.Header)
			}
		})
	}
}

func TestD06RedirectOfConnect(t *testing.T) {
	for _, c := range []struct {
		name, redirect string
		req            *codec.Request
		status         int
		want           string
	}{
		{"path absent", `{"path_redirect":"/new"}`, connect("h:80"), 301, "http://h:80/new"},
		{"path absent, prefix", `{"prefix_rewrite":"/new"}`, connect("h:80"), 301, "http://h:80"},
		{"host and port", `{"host_redirect":"o.com","port_redirect":8443,"https_redirect":true}`, get("/a?b"), 301, "https://o.com:8443/a?b"},
		{"https drops port 80", `{"https_redirect":true,"response_code":"FOUND"}`, func() *codec.Request {
			r := get("/")
			r.Authority = "foo.com:80"
			return r
		}(), 302, "https://foo.com/"},
		{"strip query", `{"path_redirect":"/n","strip_query":true,"response_code":"PERMANENT_REDIRECT"}`, get("/a?b"), 308, "http://foo.com/n"},
		{"query of its own", `{"path_redirect":"/n?c=d"}`, get("/a?b"), 301, "http://foo.com/n?c=d"},
		{"scheme", `{"scheme_redirect":"ws","response_code":"TEMPORARY_REDIRECT"}`, get("/a"), 307, "ws://foo.com/a"},
		{"v6", `{"port_redirect":81,"response_code":"SEE_OTHER"}`, func() *codec.Request {
			r := get("/")
			r.Authority = "[::1]:80"
			return r
		}(), 303, "http://[::1]:81/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tab := routes(t, `{"match":{"connect_matcher":{}},"redirect":`+c.redirect+`},{"match":{"prefix":"/"},"redirect":`+c.redirect+`}`)
			r := tab.Match(c.req, 0).Route.Redirect
			if got := r.Location(c.req); got != c.want || r.Status != c.status {
				t.Errorf("%d %q, want %d %q", r.Status, got, c.status, c.want)
			}
		})
	}
}

func TestRouteUpgrades(t *testing.T) {
	tab := routes(t, `{"match":{"prefix":"/"},"route":{"cluster":"c","timeout":"3s","idle_timeout":"0s","upgrade_configs":[
		{"upgrade_type":"Connect","connect_config":{"allow_post":true}},
		{"upgrade_type":"WebSocket"},{"upgrade_type":"foo","enabled":false}]}}`)
	r := tab.Match(get("/"), 0).Route
	for kind, want := range map[string]bool{"CONNECT": true, "websocket": true, "FOO": false} {
		if u := r.UpgradeFor(kind); u == nil || u.Enabled != want {
			t.Errorf("%s: %+v, want enabled %v", kind, u, want)
		}
	}
	if u := r.UpgradeFor("bar"); u != nil {
		t.Errorf("bar: %+v, want nothing", u)
	}
	f := r.Forward
	if f.Timeout != 3*time.Second || !f.TimeoutSet || f.IdleTimeout != 0 || !f.IdleTimeoutSet {
		t.Errorf("timeouts %+v", f)
	}
	for _, c := range []struct {
		method, protocol string
		want             bool
	}{
		{"CONNECT", "", true}, {"POST", "", true}, {"GET", "", false}, {"CONNECT", "websocket", false},
	} {
		if got := f.Terminates(c.method, c.protocol) != nil; got != c.want {
			t.Errorf("%s %s terminates: %v, want %v", c.method, c.protocol, got, c.want)
		}
	}
}

func TestPostTerminatesOnlyWhereAllowed(t *testing.T) {
	tab := routes(t, `{"match":{"prefix":"/"},"route":{"cluster":"c","upgrade_configs":[{"upgrade_type":"CONNECT","connect_config":{}}]}},
		{"match":{"connect_matcher":{}},"direct_response":{"status":200,"body":{"inline_bytes":"aGk="}}}`)
	f := tab.Match(get("/"), 0).Route.Forward
	if f.Terminates("POST", "") != nil || f.Terminates("CONNECT", "") == nil {
		t.Error("without allow_post a CONNECT terminates and a POST does not")
	}
	if f.Timeout != DefaultTimeout || f.TimeoutSet {
		t.Errorf("default timeout: %v %v", f.Timeout, f.TimeoutSet)
	}
	direct := tab.Match(connect("a:1"), 0).Route
	if direct.Direct.Body != "hi" || direct.UpgradeFor("CONNECT") != nil {
		t.Errorf("direct response: %+v", direct.Direct)
	}
}
