package route

import (
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"culvert/proxy/codec"
)

// FuzzMatch takes whatever a client may send as authority and path: nothing
// panics, a CONNECT without a path meets no path matcher, and a location is
// built from what is there.
func FuzzMatch(f *testing.F) {
	for _, s := range []string{"foo.com", "foo.com:80", "[::1]:80", "[::1]", "::1", "", ":", "]:", "[", "a.b.c", "*", "%"} {
		f.Add(s, "/a?b#c", true)
		f.Add(s, "", false)
	}
	rc := &routev3.RouteConfiguration{}
	err := protojson.Unmarshal([]byte(`{"ignore_port_in_host_matching":true,"virtual_hosts":[
		{"name":"v","domains":["*.foo.com","foo.*","*"],"routes":[
			{"name":"path","match":{"prefix":"/a","case_sensitive":false},"route":{"cluster":"c","prefix_rewrite":"/b"}},
			{"name":"connect","match":{"connect_matcher":{}},"redirect":{"https_redirect":true,"port_redirect":8443,"prefix_rewrite":"/x"}},
			{"name":"regex","match":{"safe_regex":{"regex":".*"}},"redirect":{"host_redirect":"h","strip_query":true}}]}]}`), rc)
	if err != nil {
		f.Fatal(err)
	}
	table, err := New(rc, Deps{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, authority, path string, connect bool) {
		req := &codec.Request{Method: "GET", Authority: authority, Path: path, HasPath: path != ""}
		if connect {
			req.Method = "CONNECT"
		}
		d := table.Match(req, 0)
		switch {
		case connect && !req.HasPath && (d == nil || d.Route.Name != "connect"):
			t.Errorf("a CONNECT without a path to %q took %+v", authority, d)
		case d == nil:
		case d.Route.Redirect != nil:
			if l := d.Route.Redirect.Location(req); !strings.Contains(l, "://") {
				t.Errorf("location %q", l)
			}
		default:
			d.Route.Forward.Rewrite(req)
			if !strings.HasPrefix(req.Path, "/b") {
				t.Errorf("rewrote %q to %q", path, req.Path)
			}
		}
	})
}
