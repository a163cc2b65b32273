package route

import (
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"culvert/proxy/codec"
)

// config reads a RouteConfiguration from JSON.
func config(t *testing.T, s string) *routev3.RouteConfiguration {
	t.Helper()
	rc := &routev3.RouteConfiguration{}
	if err := protojson.Unmarshal([]byte(s), rc); err != nil {
		t.Fatalf("test configuration: %v\n%s", err, s)
	}
	return rc
}

// table compiles a RouteConfiguration whose clusters are not checked.
func table(t *testing.T, s string) *Table {
	t.Helper()
	tab, err := New(config(t, s), Deps{})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return tab
}

// routes is a table of one virtual host for every domain.
func routes(t *testing.T, list string) *Table {
	t.Helper()
	return table(t, `{"name":"r","virtual_hosts":[{"name":"v","domains":["*"],"routes":[`+list+`]}]}`)
}

func connect(authority string) *codec.Request {
	return &codec.Request{Method: "CONNECT", Authority: authority}
}

func get(path string, header ...codec.Field) *codec.Request {
	return &codec.Request{Method: "GET", Scheme: "http", Authority: "foo.com", Path: path, HasPath: true, Header: header}
}

func withPath(r *codec.Request, path string) *codec.Request {
	r.Path, r.HasPath = path, true
	return r
}

// routeName is the name of the route req takes, "-" for none.
func routeName(t *Table, req *codec.Request) string {
	d := t.Match(req, 0)
	if d == nil {
		return "-"
	}
	return d.Route.Name
}
