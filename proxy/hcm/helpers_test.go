package hcm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"culvert/proxy/accesslog"
	"culvert/proxy/codec"
	"culvert/proxy/httpfilter/router"
	"culvert/proxy/httpfilter/streamtest"
	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/test/leak"
	"culvert/tunnel"
)

func TestMain(m *testing.M) { leak.Main(m) }

// fakeCluster answers with its two functions; a nil one is never to be called.
type fakeCluster struct {
	open   func(ctx context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error)
	stream func(head *codec.Request) (codec.ClientStream, error)
}

func (c fakeCluster) OpenFor(ctx context.Context, _ *codec.Request, info *network.StreamInfo) (network.Conn, network.Handler, error) {
	if c.open == nil {
		return nil, nil, errors.New("raw TCP was not expected")
	}
	return c.open(ctx, info)
}

func (fakeCluster) Responded(*network.UpstreamInfo, int, time.Duration) {}

func (c fakeCluster) OpenStream(_ context.Context, head *codec.Request, _ *network.StreamInfo) (codec.ClientStream, error) {
	if c.stream == nil {
		return nil, errors.New("an HTTP stream was not expected")
	}
	return c.stream(head)
}

// origin is a cluster of one far half, and its other end.
func origin() (fakeCluster, *streamtest.Server) {
	near, far := streamtest.Pair(&codec.Request{Method: "TCP"})
	return fakeCluster{open: func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
		return tunnel.NewConn(near), nil, nil
	}}, far
}

// upstream is a cluster whose streams are served by fn.
func upstream(fn func(*streamtest.Server)) fakeCluster {
	return fakeCluster{stream: func(head *codec.Request) (codec.ClientStream, error) {
		c, s := streamtest.Pair(head)
		go fn(s) // ends when the exchange or the test closes the stream
		return c, nil
	}}
}

func fails(err error) fakeCluster {
	return fakeCluster{open: func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
		return nil, nil, err
	}}
}

// bench is a connection manager whose exchanges are streams in memory.
type bench struct {
	t     *testing.T
	hcm   *HCM
	drain context.CancelFunc // ends Deps.Draining
	conn  *connection
	store *stats.Store
	flows *network.FlowTable
	sinks *accesslog.Sinks
	out   *buffer // what the access log wrote
	wg    sync.WaitGroup
}

// filterFunc is a filter made of a function.
type filterFunc func(ctx context.Context, x *codec.Exchange, next codec.RoundTripper) error

func (fn filterFunc) RoundTrip(ctx context.Context, x *codec.Exchange, next codec.RoundTripper) error {
	return fn(ctx, x, next)
}

// manager reads a connection manager's YAML.
func manager(t *testing.T, text string) *hcmv3.HttpConnectionManager {
	t.Helper()
	m := &hcmv3.HttpConnectionManager{}
	var v any
	err := yaml.Unmarshal([]byte(text), &v)
	if err == nil {
		var b []byte
		if b, err = json.Marshal(v); err == nil {
			err = protojson.Unmarshal(b, m)
		}
	}
	if err != nil {
		t.Fatalf("test configuration: %v\n%s", err, text)
	}
	return m
}

// deps are real neighbours around one cluster named c. Filters are found by
// name; any other name is the router.
func deps(t *testing.T, c router.Cluster, filters map[string]codec.Filter) Deps {
	t.Helper()
	flows := network.NewFlowTable()
	return Deps{
		Filter: func(f *hcmv3.HttpFilter) (codec.Filter, error) {
			if filter, ok := filters[f.GetName()]; ok {
				return filter, nil
			}
			return router.New(nil, router.Deps{
				Clusters: func(name string) (router.Cluster, bool) { return c, name == "c" && c != nil },
				Serve:    tunnel.Serve, Flows: flows,
			})
		},
		TunnelConn: tunnel.NewConn, ProxyStatus: tunnel.ProxyStatus,
		Stats: stats.NewStore(), AccessLog: accesslog.NewSinks(io.Discard, io.Discard), Flows: flows,
	}
}

func newBench(t *testing.T, text string, c router.Cluster, filters map[string]codec.Filter) *bench {
	t.Helper()
	d := deps(t, c, filters)
	draining, drain := context.WithCancel(context.Background())
	t.Cleanup(drain)
	d.Draining = draining
	out := &buffer{}
	d.AccessLog = accesslog.NewSinks(out, io.Discard)
	h, err := New(manager(t, text), d)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	info := network.NewStreamInfo(d.Flows.NextID())
	return &bench{
		t: t, hcm: h, drain: drain, store: d.Stats, flows: d.Flows, sinks: d.AccessLog, out: out,
		conn: &connection{hcm: h, life: context.Background(), version: h.counts.version(codec.HTTP2), info: info},
	}
}

// send serves one request; wait awaits it.
func (b *bench) send(req *codec.Request) *streamtest.Client {
	c, s := streamtest.Pair(req)
	b.wg.Go(func() { b.conn.serveStream(b.t.Context(), s) }) // ends with the exchange
	return c
}

// wait awaits all exchanges and returns the info of the last one that ended.
func (b *bench) wait() *network.StreamInfo {
	b.t.Helper()
	b.wg.Wait()
	var last *network.StreamInfo
	for _, info := range b.flows.Ended() {
		if info.Parent == b.conn.info { // else it is the flow inside an internal listener
			last = info
		}
	}
	if last == nil || b.flows.Len() != 0 {
		b.t.Fatalf("no exchange ended, or some are still among the %d in the table", b.flows.Len())
	}
	return last
}

// ask sends a request and reads its whole answer.
func (b *bench) ask(req *codec.Request) (*codec.Response, string) {
	b.t.Helper()
	c := b.send(req)
	res := head(b.t, c)
	body, err := io.ReadAll(c)
	if err != nil {
		b.t.Fatalf("body: %v", err)
	}
	return res, string(body)
}

func head(t *testing.T, c *streamtest.Client) *codec.Response {
	t.Helper()
	res, err := c.ReadResponse(t.Context())
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	return res
}

func (b *bench) stat(name string) int64 {
	b.t.Helper()
	v, ok := b.store.Value("http.in." + name)
	if !ok {
		b.t.Fatalf("no such metric: %s", name)
	}
	return v
}

func connect() *codec.Request { return &codec.Request{Method: "CONNECT", Authority: "foo.lyft.com:80"} }

func get(path string) *codec.Request {
	return &codec.Request{Method: "GET", Scheme: "http", Authority: "foo.com", Path: path, HasPath: true, EndStream: true}
}

func post(path string) *codec.Request {
	r := get(path)
	r.Method, r.EndStream = "POST", false
	return r
}

func extended(protocol string) *codec.Request {
	return &codec.Request{Method: "CONNECT", Protocol: protocol, Scheme: "http", Authority: "foo.com", Path: "/ws", HasPath: true}
}

// with is the YAML of a connection manager with these routes and settings.
func with(routes, more string) string {
	return "stat_prefix: in\nhttp_filters: [{name: router}]\n" +
		"route_config: {name: r, virtual_hosts: [{name: v, domains: ['*'], routes: [" + routes + "]}]}\n" + more
}

const (
	terminateRoute = `{match: {connect_matcher: {}}, route: {cluster: c, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}}`
	proxyRoute     = `{match: {connect_matcher: {}}, route: {cluster: c, upgrade_configs: [{upgrade_type: CONNECT}]}}`
	plainRoute     = `{match: {prefix: "/"}, route: {cluster: c}}`
	directRoute    = `{match: {prefix: "/"}, direct_response: {status: 200, body: {inline_string: hello}}}`
)

func mustRead(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Errorf("read %q, %v; want %q", b, err, want)
	}
}

func mustEnd(t *testing.T, r io.Reader) {
	t.Helper()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes, %v; want a clean end", n, err)
	}
}

func mustReset(t *testing.T, r io.Reader) {
	t.Helper()
	if n, err := r.Read(make([]byte, 1)); n != 0 || !network.IsReset(err) {
		t.Errorf("read %d bytes, %v; want a reset", n, err)
	}
}

func mustWrite(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Errorf("write %q: %v", s, err)
	}
}

// soon is the patience of tests that wait for another goroutine.
const soon = time.Minute

// inTime runs body with ever more time for what it bounds, until it reports that
// what has to come before the end of that time did: a machine may be slow.
func inTime(t *testing.T, body func(t *testing.T, d time.Duration) bool) {
	t.Helper()
	for _, d := range []time.Duration{200 * time.Millisecond, 2 * time.Second, 8 * time.Second} {
		if body(t, d) {
			return
		}
	}
	t.Error("what has to come first never came in time")
}

// seconds is d in a configuration.
func seconds(d time.Duration) string { return fmt.Sprintf("%gs", d.Seconds()) }
