package tunnel_test

import (
	"context"
	"crypto/tls"
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
	"culvert/test/peer"
	"culvert/tunnel"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// The tests in this file run an encapsulating culvert on loopback: an
// application's socket, a listener, tcp_proxy with tunneling_config, a pool of
// HTTP/2 connections, and a gateway that does what a script says.
//
//	application --TCP--> listener, tcp_proxy --HTTP/2 CONNECT--> gateway

// limit bounds every wait of a test on real sockets.
const limit = 30 * time.Second

type culvert struct {
	t     *testing.T
	addr  string
	stats *stats.Store
	flows *network.FlowTable
	sinks *accesslog.Sinks

	mu  sync.Mutex
	log strings.Builder
}

// Write takes the access log.
func (c *culvert) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.Write(p)
}

type options struct {
	proxy  *tcpproxyv3.TcpProxy         // what the test sets of it
	http2  *corev3.Http2ProtocolOptions // nil: defaults
	tls    *tlsv3.UpstreamTlsContext    // nil: cleartext
	format string                       // access log, with a newline
}

func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// start runs a culvert in front of the gateway until the test ends.
func start(t *testing.T, gateway string, o options) *culvert {
	t.Helper()
	c := &culvert{t: t, stats: stats.NewStore(), flows: network.NewFlowTable()}
	set, err := cluster.NewSet([]*clusterv3.Cluster{edge(t, gateway, o)}, cluster.Deps{Stats: c.stats, Flows: c.flows})
	if err != nil {
		t.Fatal(err)
	}
	c.sinks = accesslog.NewSinks(c, io.Discard)
	if o.proxy == nil {
		o.proxy = &tcpproxyv3.TcpProxy{}
	}
	o.proxy.StatPrefix = "t"
	o.proxy.ClusterSpecifier = &tcpproxyv3.TcpProxy_Cluster{Cluster: "edge"}
	if o.proxy.TunnelingConfig == nil {
		o.proxy.TunnelingConfig = &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "foo.lyft.com:80"}
	}
	if o.format != "" {
		o.proxy.AccessLog = stdout(t, o.format)
	}
	l, err := listener.New(&listenerv3.Listener{
		Name: "l",
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{},
		}}},
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{Name: "tcp"}}}},
	}, listener.Deps{Stats: c.stats, Flows: c.flows, NetworkFilter: func(*listenerv3.Filter) (network.Handler, error) {
		return tcpproxy.New(o.proxy, tcpproxy.Deps{
			Stats: c.stats, Flows: c.flows, AccessLog: c.sinks,
			Clusters: func(name string) (tcpproxy.Cluster, bool) { return set.Get(name) },
			Tunnel: func(o codec.Opener, head func(*network.StreamInfo) (*codec.Request, error)) tcpproxy.Upstream {
				return tunnel.NewDialer(o, head)
			},
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.Serve(ctx, ln) }) // ends with ctx, as the next
	wg.Go(func() { _ = set.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait(); _ = c.sinks.Close() })
	return c
}

func edge(t *testing.T, gateway string, o options) *clusterv3.Cluster {
	t.Helper()
	host, port, _ := net.SplitHostPort(gateway)
	var n uint32
	_, _ = fmt.Sscan(port, &n)
	if o.http2 == nil {
		o.http2 = &corev3.Http2ProtocolOptions{}
	}
	m := &clusterv3.Cluster{
		Name: "edge",
		LoadAssignment: &endpointv3.ClusterLoadAssignment{Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
				Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
					Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: n},
				}}},
			}},
		}}}}},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(t, &httpv3.HttpProtocolOptions{
				UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: o.http2},
				}},
			}),
		},
	}
	if o.tls != nil {
		m.TransportSocket = &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(t, o.tls)}}
	}
	return m
}

func stdout(t *testing.T, format string) []*accesslogv3.AccessLog {
	return []*accesslogv3.AccessLog{{Name: "stdout", ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: pack(t, &streamv3.StdoutAccessLog{
		AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: format},
			}},
		}},
	})}}}
}

// gateway runs a scripted gateway until the test ends.
func gateway(t *testing.T, conf *tls.Config, s peer.Script) *peer.Gateway {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return peer.NewGateway(t, ln, conf, s)
}

// app is an application that connects.
func (c *culvert) app() *net.TCPConn {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(limit))
	return conn.(*net.TCPConn)
}

// refused connects, says something, and is how that ended: a kernel socket has
// answered the SYN by then, so the refusal is a reset that may meet the connect,
// the write or the read.
func (c *culvert) refused(word string) error {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(limit))
	if _, err := io.WriteString(conn, word); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// records waits for the records of n flows.
func (c *culvert) records(n int) string {
	c.t.Helper()
	text := func() string {
		c.sinks.Flush()
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.log.String()
	}
	for deadline := time.Now().Add(limit); strings.Count(text(), "\n") < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%d records are not there: %q", n, text())
		}
	}
	return text()
}

func (c *culvert) value(name string) int64 {
	v, _ := c.stats.Value(name)
	return v
}

// eventually waits until a metric has a value.
func (c *culvert) eventually(name string, want int64) {
	c.t.Helper()
	for deadline := time.Now().Add(limit); c.value(name) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("%s is %d, want %d", name, c.value(name), want)
		}
	}
}

// roundTrip sends a word through an echo and back.
func roundTrip(t *testing.T, c *net.TCPConn, word string) {
	t.Helper()
	if _, err := io.WriteString(c, word); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(word))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != word {
		t.Fatalf("read %q, %v", b, err)
	}
}

func isReset(err error) bool { return err != nil && !errors.Is(err, io.EOF) && network.IsReset(err) }
