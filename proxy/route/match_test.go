package route

import (
	"testing"

	"culvert/proxy/codec"
)

func TestD01OnlyPathRoutesNeverMatchPathlessConnect(t *testing.T) {
	for name, match := range map[string]string{
		"prefix":                `{"prefix":"/"}`,
		"empty prefix":          `{"prefix":""}`,
		"path":                  `{"path":"/"}`,
		"empty path":            `{"path":""}`,
		"regex":                 `{"safe_regex":{"regex":".*"}}`,
		"path separated prefix": `{"path_separated_prefix":"/a"}`,
		"case-insensitive":      `{"prefix":"/","case_sensitive":false}`,
	} {
		t.Run(name, func(t *testing.T) {
			tab := routes(t, `{"name":"x","match":`+match+`,"route":{"cluster":"c"}}`)
			if got := routeName(tab, connect("h:80")); got != "-" {
				t.Errorf("a CONNECT without a path matched %q", got)
			}
		})
	}
}

func TestD03ConnectMatcherAmongRegexes(t *testing.T) {
	tab := routes(t, `
		{"name":"foobar","match":{"safe_regex":{"regex":"/foobar"}},"route":{"cluster":"c"}},
		{"name":"connect","match":{"connect_matcher":{}},"route":{"cluster":"c"}},
		{"name":"rest","match":{"safe_regex":{"regex":".*"}},"route":{"cluster":"c"}}`)
	for _, c := range []struct {
		name string
		req  *codec.Request
		want string
	}{
		{"CONNECT without path", connect("h:80"), "connect"},
		{"CONNECT with path", withPath(connect("h:80"), "/"), "connect"},
		{"CONNECT with the first path", withPath(connect("h:80"), "/foobar"), "foobar"},
		{"GET", get("/x"), "rest"},
		{"GET first", get("/foobar?q"), "foobar"},
	} {
		if got := routeName(tab, c.req); got != c.want {
			t.Errorf("%s: route %q, want %q", c.name, got, c.want)
		}
	}
}

func TestD04ConnectMatcherWithHeader(t *testing.T) {
	tab := routes(t, `{"name":"x","match":{"connect_matcher":{},
		"headers":[{"name":"x-safe","string_match":{"exact":"safe"}}]},"route":{"cluster":"c"}}`)
	req := connect("h:80")
	if got := routeName(tab, req); got != "-" {
		t.Errorf("without the header: %q", got)
	}
	req.Header.Add("X-Safe", "safe")
	if got := routeName(tab, req); got != "x" {
		t.Errorf("with the header: %q", got)
	}
}

func TestD11D12ConnectMatcherAndUpgrades(t *testing.T) {
	tab := routes(t, `{"name":"x","match":{"connect_matcher":{}},"route":{"cluster":"c"}}`)
	for protocol, want := range map[string]string{"websocket": "-", "connect-udp": "x", "CONNECT-UDP": "x"} {
		req := withPath(connect("h:80"), "/chat")
		req.Protocol = protocol
		if got := routeName(tab, req); got != want {
			t.Errorf("%s: route %q, want %q", protocol, got, want)
		}
	}
	if got := routeName(tab, get("/")); got != "-" {
		t.Errorf("GET: route %q, want none", got)
	}
}

func TestPathMatchers(t *testing.T) {
	for _, c := range []struct {
		match, path string
		want        bool
	}{
		{`{"prefix":"/a"}`, "/abc", true},
		{`{"prefix":"/a"}`, "/A", false},
		{`{"prefix":"/a","case_sensitive":false}`, "/Abc", true},
		{`{"prefix":"/a"}`, "/", false},
		{`{"path":"/a"}`, "/a?x=1", true},
		{`{"path":"/a"}`, "/a#f", true},
		{`{"path":"/a"}`, "/ab", false},
		{`{"path":"/a","case_sensitive":false}`, "/A", true},
		{`{"path_separated_prefix":"/a"}`, "/a", true},
		{`{"path_separated_prefix":"/a"}`, "/a/b", true},
		{`{"path_separated_prefix":"/a"}`, "/ab", false},
		{`{"safe_regex":{"regex":"/[0-9]+"}}`, "/12?q=x", true},
		{`{"safe_regex":{"regex":"/[0-9]+"}}`, "/12x", false},
		{`{"safe_regex":{"regex":"/a|/b"}}`, "/b", true},
		{`{"safe_regex":{"regex":"/a|/b"}}`, "/bc", false},
	} {
		tab := routes(t, `{"name":"x","match":`+c.match+`,"route":{"cluster":"c"}}`)
		if got := routeName(tab, get(c.path)) == "x"; got != c.want {
			t.Errorf("%s of %s: %v, want %v", c.match, c.path, got, c.want)
		}
	}
}

func TestHeaderMatchers(t *testing.T) {
	for _, c := range []struct {
		match string
		value string // "-": the header is missing
		want  bool
	}{
		{`"string_match":{"exact":"a"}`, "a", true},
		{`"string_match":{"exact":"a"}`, "A", false},
		{`"string_match":{"exact":"a","ignore_case":true}`, "A", true},
		{`"string_match":{"prefix":"ab"}`, "abc", true},
		{`"string_match":{"prefix":"ab","ignore_case":true}`, "ABc", true},
		{`"string_match":{"suffix":"bc"}`, "abc", true},
		{`"string_match":{"suffix":"bc","ignore_case":true}`, "aBC", true},
		{`"string_match":{"suffix":"bc"}`, "c", false},
		{`"string_match":{"contains":"b"}`, "abc", true},
		{`"string_match":{"contains":"B","ignore_case":true}`, "abc", true},
		{`"string_match":{"safe_regex":{"regex":"a+"}}`, "aaa", true},
		{`"string_match":{"safe_regex":{"regex":"a+"}}`, "aab", false},
		{`"string_match":{"exact":"a"}`, "-", false},
		{`"string_match":{"exact":"a"},"invert_match":true`, "b", true},
		{`"string_match":{"exact":"a"},"invert_match":true`, "-", false},
		{`"string_match":{"exact":"a"},"invert_match":true,"treat_missing_header_as_empty":true`, "-", true},
		{`"string_match":{"exact":""},"treat_missing_header_as_empty":true`, "-", true},
		{`"present_match":true`, "", true},
		{`"present_match":true`, "-", false},
		{`"present_match":false`, "-", true},
		{`"present_match":false`, "x", false},
		{`"present_match":true,"invert_match":true`, "-", true},
		{`"present_match":false,"invert_match":true`, "x", true},
		{`"range_match":{"start":"-1","end":"10"}`, "9", true},
		{`"range_match":{"start":"-1","end":"10"}`, "10", false},
		{`"range_match":{"start":"-1","end":"10"}`, "x", false},
		{`"exact_match":"a"`, "a", true},
		{`"prefix_match":"a"`, "ab", true},
		{`"suffix_match":"b"`, "ab", true},
		{`"contains_match":"b"`, "abc", true},
		{`"safe_regex_match":{"regex":"a.c"}`, "abc", true},
		{`"string_match":{"exact":"a,b"}`, "a|b", true}, // two lines
		{``, "x", true},
		{``, "-", false},
	} {
		body := `{"name":"X-H"`
		if c.match != "" {
			body += "," + c.match
		}
		tab := routes(t, `{"name":"x","match":{"prefix":"/","headers":[`+body+`}]},"route":{"cluster":"c"}}`)
		req := get("/")
		switch c.value {
		case "-":
		case "a|b":
			req.Header.Add("x-h", "a")
			req.Header.Add("x-h", "b")
		default:
			req.Header.Add("x-h", c.value)
		}
		if got := routeName(tab, req) == "x"; got != c.want {
			t.Errorf("{%s} of %q: %v, want %v", c.match, c.value, got, c.want)
		}
	}
}

func TestHeaderMatcherOnPseudoHeaders(t *testing.T) {
	tab := routes(t, `{"name":"post","match":{"prefix":"/","headers":[{"name":":method","string_match":{"exact":"POST"}}]},
		"route":{"cluster":"c"}},
		{"name":"host","match":{"prefix":"/","headers":[{"name":":authority","string_match":{"exact":"b.com"}}]},"route":{"cluster":"c"}},
		{"name":"scheme","match":{"prefix":"/","headers":[{"name":":scheme","string_match":{"exact":"https"}}]},"route":{"cluster":"c"}},
		{"name":"path","match":{"connect_matcher":{},"headers":[{"name":":path","present_match":false}]},"route":{"cluster":"c"}}`)
	post, host, scheme := get("/"), get("/"), get("/")
	post.Method, host.Authority, scheme.Scheme = "POST", "b.com", "https"
	for want, req := range map[string]*codec.Request{
		"post": post, "host": host, "scheme": scheme, "path": connect("a:1"), "-": get("/"),
	} {
		if got := routeName(tab, req); got != want {
			t.Errorf("route %q, want %q", got, want)
		}
	}
}
