package cluster

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/resolver"
	"culvert/proxy/stats"
	"culvert/test/leak"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestMain(m *testing.M) { leak.Main(m) }

// start runs a cluster until the test ends.
func start(t *testing.T, m *clusterv3.Cluster, change func(*Deps)) *Cluster {
	t.Helper()
	d := Deps{Stats: stats.NewStore(), Flows: network.NewFlowTable()}
	if change != nil {
		change(&d)
	}
	if m.Name == "" {
		m.Name = "edge"
	}
	c := made(t, m, d)
	run(t, c)
	return c
}

// made compiles a cluster that does not run yet.
func made(t *testing.T, m *clusterv3.Cluster, d Deps) *Cluster {
	t.Helper()
	c, err := New(m, d)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testDeps() Deps {
	return Deps{Stats: stats.NewStore(), Flows: network.NewFlowTable(), Resolver: &zone{}}
}

func run(t *testing.T, c *Cluster) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }() // ends with ctx, below
	t.Cleanup(func() { cancel(); <-done })
}

func (c *Cluster) value(name string) int64 {
	v, _ := c.deps.Stats.Value("cluster." + c.name + "." + name)
	return v
}

func u32(v uint32) *wrapperspb.UInt32Value { return wrapperspb.UInt32(v) }

// assignment lists "host:port" endpoints; "envoy:name" is an internal one.
func assignment(list ...string) *endpointv3.ClusterLoadAssignment {
	l := &endpointv3.LocalityLbEndpoints{}
	for _, s := range list {
		l.LbEndpoints = append(l.LbEndpoints, &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
			Endpoint: &endpointv3.Endpoint{Address: endpointOf(s)},
		}})
	}
	return &endpointv3.ClusterLoadAssignment{Endpoints: []*endpointv3.LocalityLbEndpoints{l}}
}

func endpointOf(s string) *corev3.Address {
	if host, port, err := net.SplitHostPort(s); err == nil && host == "envoy" {
		return &corev3.Address{Address: &corev3.Address_EnvoyInternalAddress{EnvoyInternalAddress: &corev3.EnvoyInternalAddress{
			AddressNameSpecifier: &corev3.EnvoyInternalAddress_ServerListenerName{ServerListenerName: port}, EndpointId: "1",
		}}}
	}
	a, err := network.ParseHostPort(s)
	if err != nil {
		panic(err)
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: a.Host(), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(a.Port())},
	}}}
}

func static1(list ...string) *clusterv3.Cluster {
	return &clusterv3.Cluster{LoadAssignment: assignment(list...)}
}

func ofType(t clusterv3.Cluster_DiscoveryType, m *clusterv3.Cluster) *clusterv3.Cluster {
	m.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: t}
	return m
}

func originalDstCluster(lb *clusterv3.Cluster_OriginalDstLbConfig) *clusterv3.Cluster {
	m := &clusterv3.Cluster{LbPolicy: clusterv3.Cluster_CLUSTER_PROVIDED}
	if lb != nil {
		m.LbConfig = &clusterv3.Cluster_OriginalDstLbConfig_{OriginalDstLbConfig: lb}
	}
	return ofType(clusterv3.Cluster_ORIGINAL_DST, m)
}

// connectorFunc dials; check is asked first, as the kernel's sockets do.
type connectorFunc func(ctx context.Context, to network.Address) (network.Conn, error)

func (fn connectorFunc) Connect(ctx context.Context, to network.Address, check Check) (network.Conn, error) {
	if check != nil {
		if err := check(to.IP); err != nil {
			return nil, err
		}
	}
	return fn(ctx, to)
}

// fakeConn is a connection that does nothing but end.
type fakeConn struct {
	network.Conn
	mu     sync.Mutex
	closed int
	path   time.Duration // round trip to the peer
}

func (c *fakeConn) RoundTrip() time.Duration { return c.path }

func (c *fakeConn) LocalAddr() net.Addr  { return network.NameAddress("192.0.2.250", 1) }
func (c *fakeConn) RemoteAddr() net.Addr { return network.NameAddress("192.0.2.251", 2) }
func (c *fakeConn) Close() error         { c.Abort(nil); return nil }
func (c *fakeConn) Abort(error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed++
}

func hang(ctx context.Context, _ network.Address) (network.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// zone is a resolver: a name it has not is an NXDOMAIN.
type zone struct {
	mu    sync.Mutex
	names map[string][]string
}

func (z *zone) Lookup(_ context.Context, host string, _ resolver.Family) ([]netip.Addr, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	var out []netip.Addr
	for _, s := range z.names[host] {
		out = append(out, netip.MustParseAddr(s))
	}
	if out == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return out, nil
}

func (z *zone) set(host string, addrs ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.names[host] = addrs
}

func connectHead() *codec.Request {
	return &codec.Request{Method: "CONNECT", Authority: "192.0.2.9:443"}
}

var errNope = errors.New("nope")

func info() *network.StreamInfo { return network.NewStreamInfo(1) }

const second = time.Second
