package router

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"culvert/proxy/codec"
	"culvert/proxy/httpfilter/streamtest"
	"culvert/proxy/network"
	"culvert/proxy/route"
	"culvert/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// fakeCluster is a cluster made of two functions; a nil one is never to be
// called.
type fakeCluster struct {
	t      *testing.T
	open   func(ctx context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error)
	stream func(ctx context.Context, head *codec.Request, info *network.StreamInfo) (codec.ClientStream, error)

	mu       sync.Mutex
	statuses []int // of the answers it was told of
}

func (c *fakeCluster) OpenFor(ctx context.Context, _ *codec.Request, info *network.StreamInfo) (network.Conn, network.Handler, error) {
	if c.open == nil {
		c.t.Error("the cluster was asked for raw TCP")
		return nil, nil, errors.New("not expected")
	}
	return c.open(ctx, info)
}

func (c *fakeCluster) OpenStream(ctx context.Context, head *codec.Request, info *network.StreamInfo) (codec.ClientStream, error) {
	if c.stream == nil {
		c.t.Error("the cluster was asked for an HTTP stream")
		return nil, errors.New("not expected")
	}
	return c.stream(ctx, head, info)
}

func (c *fakeCluster) Responded(_ *network.UpstreamInfo, status int, _ time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statuses = append(c.statuses, status)
}

// upstream is a cluster whose streams are served by fn, on the head it got.
func upstream(t *testing.T, fn func(s *streamtest.Server)) *fakeCluster {
	return &fakeCluster{t: t, stream: func(_ context.Context, head *codec.Request, _ *network.StreamInfo) (codec.ClientStream, error) {
		c, s := streamtest.Pair(head)
		go fn(s) // ends when the router or the test closes the stream
		return c, nil
	}}
}

// stubConn is a Conn that is only handed around.
type stubConn struct{ network.Conn }

// newRouter is a router with one cluster, c.
func newRouter(t *testing.T, c Cluster, config *routerv3.Router) *Router {
	t.Helper()
	r, err := New(config, Deps{
		Clusters: func(name string) (Cluster, bool) { return c, name == "c" },
		Serve: func(ctx context.Context, h network.Handler, info *network.StreamInfo) (*codec.ServedFlow, error) {
			return nil, errors.New("no internal listeners here")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// routed is an exchange of req on the first route of the list that matches.
func routed(t *testing.T, routes string, req *codec.Request) (*codec.Exchange, *streamtest.Client) {
	t.Helper()
	rc := &routev3.RouteConfiguration{}
	text := `{"virtual_hosts":[{"name":"v","domains":["*"],"routes":[` + routes + `]}]}`
	if err := protojson.Unmarshal([]byte(text), rc); err != nil {
		t.Fatal(err)
	}
	table, err := route.New(rc, route.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	client, server := streamtest.Pair(req)
	x := &codec.Exchange{Info: network.NewStreamInfo(1), Stream: server, Request: req}
	if d := table.Match(req, 0); d != nil {
		x.Route = d
	}
	t.Cleanup(func() { // as hcm does
		x.End(nil)
		_ = server.Close()
		if x.Upstream.Stream != nil {
			_ = x.Upstream.Stream.Close()
		}
		if x.Upstream.Pump != nil {
			for range x.Upstream.Pump {
			}
		}
	})
	return x, client
}

const (
	connectRoute   = `{"match":{"connect_matcher":{}},"route":{"cluster":"c","upgrade_configs":[{"upgrade_type":"CONNECT"}]}}`
	terminateRoute = `{"match":{"connect_matcher":{}},"route":{"cluster":"c","upgrade_configs":[{"upgrade_type":"CONNECT","connect_config":{}}]}}`
	plainRoute     = `{"match":{"prefix":"/"},"route":{"cluster":"c"}}`
)

func connect() *codec.Request { return &codec.Request{Method: "CONNECT", Authority: "foo.lyft.com:80"} }

func get() *codec.Request {
	return &codec.Request{Method: "GET", Scheme: "http", Authority: "foo.com", Path: "/x", HasPath: true, EndStream: true}
}

func post() *codec.Request {
	r := get()
	r.Method, r.EndStream = "POST", false
	return r
}

// reply is err as the local reply it must be.
func reply(t *testing.T, err error) *codec.LocalReply {
	t.Helper()
	var r *codec.LocalReply
	if !errors.As(err, &r) {
		t.Fatalf("error %v (%T), want a local reply", err, err)
	}
	return r
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return string(b)
}
