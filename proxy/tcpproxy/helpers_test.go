package tcpproxy

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"culvert/proxy/accesslog"
	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/test/leak"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestMain(m *testing.M) { leak.Main(m) }

// openFunc is an upstream; the others are not used by it.
type openFunc func(ctx context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error)

func (fn openFunc) Open(ctx context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error) {
	return fn(ctx, info)
}

func (fn openFunc) OpenStream(context.Context, *codec.Request, *network.StreamInfo) (codec.ClientStream, error) {
	return nil, errors.New("not used")
}

func (fn openFunc) Secure() bool { return false }

// syncBuffer is a log's output.
type syncBuffer struct {
	mu  sync.Mutex
	buf []byte
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = append(b.buf, p...)
	return len(p), nil
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.buf)
}

// rig is a filter, the clusters it sees and what it counts.
type rig struct {
	t        *testing.T
	stats    *stats.Store
	clusters map[string]Cluster
	out      *syncBuffer
	sinks    *accesslog.Sinks
	proxy    *TCPProxy
}

func stdoutLog(t *testing.T, format string) []*accesslogv3.AccessLog {
	t.Helper()
	typed, err := anypb.New(&streamv3.StdoutAccessLog{AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{
		LogFormat: &corev3.SubstitutionFormatString{Format: &corev3.SubstitutionFormatString_TextFormatSource{
			TextFormatSource: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: format}},
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return []*accesslogv3.AccessLog{{Name: "stdout", ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: typed}}}
}

// newRig compiles m, which gets a prefix and a cluster "edge" where it has
// none.
func newRig(t *testing.T, m *tcpproxyv3.TcpProxy, edge openFunc) *rig {
	t.Helper()
	r := &rig{t: t, stats: stats.NewStore(), clusters: map[string]Cluster{}, out: &syncBuffer{}}
	if edge != nil {
		r.clusters["edge"] = edge
	}
	r.sinks = accesslog.NewSinks(r.out, io.Discard)
	t.Cleanup(func() { _ = r.sinks.Close() })
	m.StatPrefix = "t"
	if m.ClusterSpecifier == nil {
		m.ClusterSpecifier = &tcpproxyv3.TcpProxy_Cluster{Cluster: "edge"}
	}
	p, err := New(m, r.deps())
	if err != nil {
		t.Fatal(err)
	}
	r.proxy = p
	return r
}

func (r *rig) deps() Deps {
	return Deps{
		Clusters: func(name string) (Cluster, bool) { c, ok := r.clusters[name]; return c, ok },
		Stats:    r.stats, Flows: network.NewFlowTable(), AccessLog: r.sinks,
		Tunnel: func(o codec.Opener, head func(*network.StreamInfo) (*codec.Request, error)) Upstream {
			return openFunc(func(ctx context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error) {
				req, err := head(info)
				if err != nil {
					return nil, nil, err
				}
				_, err = o.OpenStream(ctx, req, info)
				return nil, nil, err
			})
		},
	}
}

func (r *rig) value(name string) int64 {
	v, _ := r.stats.Value(name)
	return v
}

// fakeFlow is an unanswered flow over one end of a pipe.
type fakeFlow struct {
	info   *network.StreamInfo
	ctx    context.Context
	cancel context.CancelCauseFunc
	conn   *pipeEnd
	lost   error // of Accept

	accepts  int
	rejected error
}

// newFlow makes a flow and the application's end of it.
func newFlow() (*fakeFlow, *pipeEnd) {
	app, ours := newPipe()
	f := &fakeFlow{info: network.NewStreamInfo(1000), conn: ours}
	f.ctx, f.cancel = context.WithCancelCause(context.Background())
	return f, app
}

func (f *fakeFlow) Info() *network.StreamInfo { return f.info }
func (f *fakeFlow) Context() context.Context  { return f.ctx }
func (f *fakeFlow) Reject(cause error)        { f.rejected = cause }

func (f *fakeFlow) Accept(context.Context) (network.Conn, error) {
	if f.lost != nil {
		return nil, f.lost
	}
	f.accepts++
	return f.conn, nil
}

// answer is how the flow was answered: "accepted", "rejected: reason" or
// nothing.
func (f *fakeFlow) answer() string {
	switch {
	case f.accepts > 0 && f.rejected != nil:
		return "both"
	case f.accepts > 0:
		return "accepted"
	case f.rejected != nil:
		return "rejected: " + network.ReasonFor(f.rejected).String()
	}
	return "nothing"
}

var errRefused = network.WithReason(network.ReasonConnectionRefused, errors.New("connection refused"))

const step = time.Second
