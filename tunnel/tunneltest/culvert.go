package tunneltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/proxy/accesslog"
	"culvert/proxy/cluster"
	"culvert/proxy/codec"
	"culvert/proxy/listener"
	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/proxy/tcpproxy"
	"culvert/tunnel"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// Limit bounds every wait of a test on real sockets.
const Limit = 2 * time.Minute

// Options are what a test sets; the rest is the mode's.
type Options struct {
	Proxy *tcpproxyv3.TcpProxy
	// HTTP2 are the cluster's, where the mode has any.
	HTTP2 *corev3.Http2ProtocolOptions
	// Connect bounds a connection to the gateway; 0: Limit.
	Connect time.Duration
	// TLS is instead of the context that verifies the gateway.
	TLS *tlsv3.UpstreamTlsContext
	// Downstream is TLS between the application and culvert.
	Downstream *tlsv3.DownstreamTlsContext
	// Format of the access log, with a newline; empty: no log.
	Format string
	// Flow is called for each flow before tcp_proxy, as a filter in front of it.
	Flow func(*network.StreamInfo)
}

// Culvert is an encapsulating culvert in front of a gateway.
type Culvert struct {
	// Addr is where it listens.
	Addr  string
	Flows *network.FlowTable

	t     testing.TB
	stats *stats.Store
	sinks *accesslog.Sinks

	mu  sync.Mutex
	log strings.Builder
}

// Write takes the access log.
func (c *Culvert) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.Write(p)
}

// Start runs a culvert in front of the gateway until the test ends.
func Start(t testing.TB, g *Gateway, o Options) *Culvert {
	t.Helper()
	c := &Culvert{t: t, stats: stats.NewStore(), Flows: network.NewFlowTable()}
	c.sinks = accesslog.NewSinks(c, io.Discard)
	set, err := cluster.NewSet([]*clusterv3.Cluster{edge(t, g, o)}, cluster.Deps{Stats: c.stats, Flows: c.Flows})
	if err != nil {
		t.Fatal(err)
	}
	l, err := listener.New(listenerConfig(t, o), listener.Deps{
		Stats: c.stats, Flows: c.Flows,
		NetworkFilter: func(*listenerv3.Filter) (network.Handler, error) { return c.filter(g.Mode, set, o) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.Serve(ctx, ln) }) // ends with ctx, as the next
	wg.Go(func() { _ = set.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait(); _ = c.sinks.Close() })
	return c
}

// filter is tcp_proxy behind what the test puts in front of it.
func (c *Culvert) filter(m tunnel.Mode, set *cluster.Set, o Options) (network.Handler, error) {
	p, err := tcpproxy.New(tcpProxy(c.t, m, o), tcpproxy.Deps{
		Stats: c.stats, Flows: c.Flows, AccessLog: c.sinks,
		Clusters: func(name string) (tcpproxy.Cluster, bool) { return set.Get(name) },
		Tunnel: func(o codec.Opener, head func(*network.StreamInfo) (*codec.Request, error)) tcpproxy.Upstream {
			return tunnel.NewDialer(o, head)
		},
	})
	if err != nil || o.Flow == nil {
		return p, err
	}
	return network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		o.Flow(f.Info())
		return p.ServeFlow(ctx, f)
	}), nil
}

// App is an application that connects.
func (c *Culvert) App() *net.TCPConn {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.Addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(Limit))
	return conn.(*net.TCPConn)
}

// Refused connects, says something, and is how that ended: a kernel socket has
// answered the SYN by then, so the refusal is a reset that may meet the connect,
// the write or the read.
func (c *Culvert) Refused(word string) error {
	conn, err := net.Dial("tcp", c.Addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(Limit))
	if _, err := io.WriteString(conn, word); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// Visit connects, says something, ends its direction and reads the other to its
// end. The error is how that ended, at whichever step.
func (c *Culvert) Visit(word string) (string, error) {
	conn, err := net.Dial("tcp", c.Addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(Limit))
	if _, err := io.WriteString(conn, word); err != nil {
		return "", err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	all, err := io.ReadAll(conn)
	return string(all), err
}

// Records waits for the records of n flows.
func (c *Culvert) Records(n int) string {
	c.t.Helper()
	text := func() string {
		c.sinks.Flush()
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.log.String()
	}
	Await(c.t, func() bool { return strings.Count(text(), "\n") >= n }, func() string {
		return fmt.Sprintf("%d records are not there: %q", n, text())
	})
	return text()
}

// Value is a metric's.
func (c *Culvert) Value(name string) int64 {
	v, _ := c.stats.Value(name)
	return v
}

// Eventually waits until a metric has a value.
func (c *Culvert) Eventually(name string, want int64) {
	c.t.Helper()
	Await(c.t, func() bool { return c.Value(name) == want }, func() string {
		return fmt.Sprintf("%s is %d, want %d", name, c.Value(name), want)
	})
}

// Ended waits for the flow that has ended first, and its snapshot.
func (c *Culvert) Ended() *network.Snapshot {
	c.t.Helper()
	Await(c.t, func() bool { return len(c.Flows.Ended()) > 0 }, func() string { return "no flow has ended" })
	return c.Flows.Ended()[0].Snapshot()
}

// Await polls until something is so, Limit long. The test then fails with what
// instead says.
func Await(t testing.TB, so func() bool, instead func() string) {
	t.Helper()
	for deadline := time.Now().Add(Limit); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(instead())
		}
	}
}

// InTime runs body with ever more time for what it bounds, until it reports that
// what has to come before the end of that time did: a machine may be slow.
func InTime(t *testing.T, body func(d time.Duration) bool) {
	t.Helper()
	for _, d := range []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second} {
		if body(d) {
			return
		}
	}
	t.Error("what has to come first never came in time")
}

// RoundTrip sends a word through an echo and back.
func RoundTrip(t testing.TB, c net.Conn, word string) {
	t.Helper()
	if _, err := io.WriteString(c, word); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(word))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != word {
		t.Fatalf("read %q, %v", b, err)
	}
}

// IsReset reports an end that is a reset, and no EOF.
func IsReset(err error) bool { return err != nil && !errors.Is(err, io.EOF) && network.IsReset(err) }
