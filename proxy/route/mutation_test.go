package route

import (
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/format"
	"culvert/proxy/network"

	"github.com/google/go-cmp/cmp"
)

func TestMutations(t *testing.T) {
	tab := table(t, `{"name":"r",
		"request_headers_to_add":[{"header":{"key":"x-level","value":"table"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD"}],
		"response_headers_to_remove":["server"],
		"virtual_hosts":[{"name":"v","domains":["*"],
			"request_headers_to_add":[{"header":{"key":"x-level","value":"host"}},{"header":{"key":"x-path","value":"%REQ(:PATH)%"}},
				{"header":{"key":"x-none","value":"%REQ(x-absent)%"},"append_action":"ADD_IF_ABSENT"}],
			"routes":[{"match":{"prefix":"/"},"direct_response":{"status":200},
				"request_headers_to_remove":["x-gone"],
				"response_headers_to_add":[{"header":{"key":"x-a","value":"2"},"append_action":"OVERWRITE_IF_EXISTS"},{"header":{"key":"x-b","value":"3"},"append_action":"OVERWRITE_IF_EXISTS"}]}]}]}`)
	req := get("/p?q", codec.Field{Name: "x-gone", Value: "1"}, codec.Field{Name: "x-kept", Value: "1"})
	d := tab.Match(req, 0)
	c := &format.Context{Info: network.NewStreamInfo(1), Request: req}
	d.MutateRequest(&req.Header, c)
	if want := (codec.Fields{{Name: "x-kept", Value: "1"}, {Name: "x-level", Value: "table"}, {Name: "x-path", Value: "/p?q"}}); !same(req.Header, want) {
		t.Errorf("request: %v", req.Header)
	}
	res := codec.Fields{{Name: "server", Value: "s"}, {Name: "x-a", Value: "1"}}
	d.MutateResponse(&res, c)
	if want := (codec.Fields{{Name: "x-a", Value: "2"}}); !same(res, want) {
		t.Errorf("response: %v", res)
	}
}

// same compares fields without their order.
func same(a, b codec.Fields) bool {
	set := func(f codec.Fields) map[codec.Field]int {
		m := map[codec.Field]int{}
		for _, v := range f {
			m[v]++
		}
		return m
	}
	return cmp.Equal(set(a), set(b))
}

func TestMutationsThatMayNotBe(t *testing.T) {
	for _, key := range []string{":path", "Host", "content-length", "Transfer-Encoding", "a b"} {
		_, err := New(config(t, `{"virtual_hosts":[{"name":"v","domains":["*"],"routes":[{"match":{"prefix":"/"},"direct_response":{"status":200},
			"request_headers_to_add":[{"header":{"key":"`+key+`","value":"1"}}]}]}]}`), Deps{})
		if err == nil {
			t.Errorf("%q may be set", key)
		}
	}
}

func TestStripPort(t *testing.T) {
	for _, c := range []struct {
		authority, local string
		any              bool
		host, port       string
	}{
		{"foo:80", "", true, "foo", ":80"},
		{"foo:80", ":80", false, "foo", ":80"},
		{"foo:80", ":443", false, "foo:80", ""},
		{"foo", ":80", true, "foo", ""},
		{"[::1]:80", "", true, "[::1]", ":80"},
		{"[::1]", "", true, "[::1]", ""},
	} {
		req := connect(c.authority)
		if port := StripPort(req, c.any, c.local); port != c.port || req.Authority != c.host {
			t.Errorf("%s: %q and %q", c.authority, req.Authority, port)
		}
		if c.port != "" && WithPort(req.Authority, c.port) != c.authority {
			t.Errorf("%s: %q after all", c.authority, WithPort(req.Authority, c.port))
		}
	}
	if got := WithPort("bar:81", ":80"); got != "bar:81" {
		t.Errorf("D09: %q", got)
	}
}
