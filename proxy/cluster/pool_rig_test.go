package cluster

import (
	"context"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
)

// fakeHTTP is a codec's connection: as much room as it is told, and it lives
// until it is closed, or drained and empty.
type fakeHTTP struct {
	mu      sync.Mutex
	room    int
	refuse  error // of OpenStream
	streams int
	drained bool
	doubted bool // it may be gone
	closed  chan struct{}
	once    sync.Once
	onClose func()
}

func (f *fakeHTTP) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-f.closed:
		return nil
	}
}

func (f *fakeHTTP) OpenStream(context.Context, *codec.Request) (codec.ClientStream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return nil, f.refuse
	}
	if f.streams >= f.room {
		return nil, h2.ErrNoCapacity
	}
	f.streams++
	return &fakeStream{id: uint64(f.streams), conn: f}, nil
}

func (f *fakeHTTP) CanOpen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.streams < f.room && !f.drained
}

func (f *fakeHTTP) Room() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.drained {
		return 0
	}
	return max(f.room-f.streams, 0)
}

func (f *fakeHTTP) Doubted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.doubted
}

func (f *fakeHTTP) Drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drained = true
	if f.streams == 0 {
		f.end()
	}
}

func (f *fakeHTTP) Close(error) { f.end() }
func (f *fakeHTTP) end()        { f.once.Do(func() { close(f.closed) }) }

type fakeStream struct {
	codec.ClientStream
	id   uint64
	conn *fakeHTTP
	once sync.Once
}

func (s *fakeStream) ID() uint64 { return s.id }
func (s *fakeStream) Close() error {
	s.once.Do(func() {
		s.conn.mu.Lock()
		s.conn.streams--
		if s.conn.drained && s.conn.streams == 0 {
			s.conn.end()
		}
		s.conn.mu.Unlock()
		s.conn.onClose()
	})
	return nil
}

// poolRig is a cluster whose connections are fakes.
type poolRig struct {
	*Cluster
	mu    sync.Mutex
	conns []*fakeHTTP
	room  int
	path  time.Duration                   // round trip to the peer
	dial  func(ctx context.Context) error // nil: at once
}

func (r *poolRig) made() []*fakeHTTP {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conns
}

func http2(t *testing.T, m *clusterv3.Cluster, o *corev3.Http2ProtocolOptions) *clusterv3.Cluster {
	m.TypedExtensionProtocolOptions = options1(t, "envoy.extensions.upstreams.http.v3.HttpProtocolOptions", &httpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: o},
		}},
	})
	return m
}

func newPoolRig(t *testing.T, m *clusterv3.Cluster) *poolRig {
	t.Helper()
	r := &poolRig{room: 100}
	r.Cluster = start(t, http2(t, m, &corev3.Http2ProtocolOptions{}), func(d *Deps) {
		d.Connector = connectorFunc(func(ctx context.Context, _ network.Address) (network.Conn, error) {
			if r.dial != nil {
				if err := r.dial(ctx); err != nil {
					return nil, err
				}
			}
			return &fakeConn{path: r.path}, nil
		})
	})
	r.newConn = func(_ network.Conn, _ codec.Proto, _ *httpSettings, _ uint64, closed func()) httpConn {
		r.mu.Lock()
		defer r.mu.Unlock()
		f := &fakeHTTP{room: r.room, closed: make(chan struct{}), onClose: closed}
		r.conns = append(r.conns, f)
		return f
	}
	return r
}

func (r *poolRig) open(t *testing.T) codec.ClientStream {
	t.Helper()
	s, err := r.OpenStream(t.Context(), connectHead(), info())
	if err != nil {
		t.Fatal(err)
	}
	return s
}
