package cluster

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	culvertv1 "culvert/configs/culvert/v1"
	"culvert/proxy/codec"
	"culvert/proxy/network"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// boundTo is a netstack in which one address is bound to h.
func boundTo(address string, h network.Handler) func(*Deps) {
	return func(d *Deps) {
		d.Bound = func(to netip.AddrPort) (network.Handler, bool) { return h, to == netip.MustParseAddrPort(address) }
		d.Connector = connectorFunc(func(_ context.Context, to network.Address) (network.Conn, error) {
			return nil, errors.New("dialled " + to.String())
		})
	}
}

func byAuthority() *clusterv3.Cluster {
	return originalDstCluster(&clusterv3.Cluster_OriginalDstLbConfig{UseHttpHeader: true, HttpHeaderName: ":authority"})
}

// A target that is bound inside a netstack is its listener's, whatever the
// policy says of the address, and no socket is opened.
func TestBoundTarget(t *testing.T) {
	served := errors.New("served")
	h := network.HandlerFunc(func(context.Context, network.Flow) error { return served })
	for name, c := range map[string]struct {
		m    *clusterv3.Cluster
		head *codec.Request
		info func(*network.StreamInfo)
		at   string
	}{
		"CONNECT to an address":      {byAuthority(), &codec.Request{Method: "CONNECT", Authority: "198.18.0.10:80"}, nil, "198.18.0.10:80"},
		"CONNECT to an IPv6 address": {byAuthority(), &codec.Request{Method: "CONNECT", Authority: "[fd00:198:18::a]:80"}, nil, "[fd00:198:18::a]:80"},
		"filter state": {originalDstCluster(nil), nil, func(i *network.StreamInfo) {
			i.SetFilterState(StateOriginalDst, "198.18.0.10:80")
		}, "198.18.0.10:80"},
		"captured": {originalDstCluster(nil), nil, func(i *network.StreamInfo) {
			i.LocalAddress = at("198.18.0.10:80")
			i.SetFilterState(network.StateDestination, "198.18.0.10:80")
		}, "198.18.0.10:80"},
		"port override": {originalDstCluster(&clusterv3.Cluster_OriginalDstLbConfig{UpstreamPortOverride: u32(8080)}), nil, func(i *network.StreamInfo) {
			i.LocalAddress = at("198.18.0.10:80")
			i.SetFilterState(network.StateDestination, "198.18.0.10:80")
		}, "198.18.0.10:8080"},
	} {
		t.Run(name, func(t *testing.T) {
			c.m.TypedExtensionProtocolOptions = options1(t, "p", &culvertv1.EgressPolicy{
				OnlyAllowed: true, Deny: []*culvertv1.EgressRange{{Prefix: "0.0.0.0/0"}, {Prefix: "::/0"}},
			})
			cl := start(t, c.m, boundTo(c.at, h))
			i := info()
			if c.info != nil {
				c.info(i)
			}
			conn, got, err := cl.OpenFor(t.Context(), c.head, i)
			if err != nil || conn != nil || got == nil {
				t.Fatalf("conn %v, handler %v, %v", conn, got, err)
			}
			if err := got.ServeFlow(t.Context(), nil); !errors.Is(err, served) {
				t.Errorf("another handler: %v", err)
			}
			u := i.Upstream()
			if u.Host.String() != c.at || u.RemoteAddress != u.Host || u.LocalAddress != network.InternalClient() {
				t.Errorf("upstream %+v", u)
			}
			if cl.value("upstream_cx_total") != 1 || cl.value("upstream_cx_active") != 0 || cl.value("upstream_cx_destroy") != 1 {
				t.Error("not counted as a connection")
			}
		})
	}
}

// Any other target goes on its way: to the policy, then to a socket.
func TestNotBound(t *testing.T) {
	cl := start(t, byAuthority(), boundTo("198.18.0.10:80", nil))
	for target, reason := range map[string]network.Reason{
		"10.0.0.1:80": network.ReasonProhibited,
		"8.8.8.8:80":  network.ReasonUnknown, // dialled, which fails here
	} {
		_, h, err := cl.OpenFor(t.Context(), &codec.Request{Method: "CONNECT", Authority: target}, info())
		if h != nil || err == nil || network.ReasonFor(err) != reason {
			t.Errorf("%s: handler %v, %v", target, h, err)
		}
	}
}

// A cluster that would encrypt does not hand out its bytes in the clear.
func TestBoundBehindTLS(t *testing.T) {
	m := byAuthority()
	m.TransportSocket = &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{
		TypedConfig: packed(t, &tlsv3.UpstreamTlsContext{}),
	}}
	h := network.HandlerFunc(func(context.Context, network.Flow) error { return nil })
	cl := start(t, m, boundTo("198.18.0.10:80", h))
	_, got, err := cl.OpenFor(t.Context(), &codec.Request{Method: "CONNECT", Authority: "198.18.0.10:80"}, info())
	if got != nil || network.ReasonFor(err) != network.ReasonGateway || cl.value("upstream_cx_connect_fail") != 1 {
		t.Errorf("handler %v, %v", got, err)
	}
}

// K15: endpoints of one listener that differ in their ids are distinct: each
// gets its turn, and the flow inside sees which.
func TestK15EndpointIDs(t *testing.T) {
	m := static1("envoy:decap", "envoy:decap")
	for i, e := range m.LoadAssignment.Endpoints[0].LbEndpoints {
		e.GetEndpoint().GetAddress().GetEnvoyInternalAddress().EndpointId = string(rune('a' + i))
	}
	h := network.HandlerFunc(func(context.Context, network.Flow) error { return nil })
	cl := start(t, m, func(d *Deps) {
		d.Lookup = func(name string) (network.Handler, bool) { return h, name == "decap" }
	})
	seen := map[string]int{}
	for range 4 {
		i := info()
		if _, _, err := cl.Open(t.Context(), i); err != nil {
			t.Fatal(err)
		}
		seen[i.InnerAt(2, i.Upstream().Host).LocalAddress.String()]++
	}
	if len(seen) != 2 || seen["envoy://decap/a"] != 2 || seen["envoy://decap/b"] != 2 {
		t.Errorf("endpoints %v", seen)
	}
}
