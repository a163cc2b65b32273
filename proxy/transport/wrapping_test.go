package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"culvert/configs/configstest"
	culvertv1 "culvert/configs/culvert/v1"
	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/proxy/transport"
	"culvert/proxy/transport/transporttest"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	h11v3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/http_11_proxy/v3"
	iuv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/internal_upstream/v3"
	ppv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

func addr(s string) network.Address { return network.IPAddress(netip.MustParseAddrPort(s)) }

// of compiles any upstream transport.
func of(t *testing.T, m proto.Message, d transport.Deps) transport.Upstream {
	t.Helper()
	u, err := transport.NewUpstream(transporttest.Socket(t, m), d)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func packed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	p, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func flowInfo() *network.StreamInfo {
	info := network.NewStreamInfo(1)
	info.RemoteAddress, info.LocalAddress = addr("192.0.2.1:1000"), addr("192.0.2.2:443")
	return info
}

func TestHonouredRefusesTheRest(t *testing.T) { configstest.RefusesUndeclared(t, transport.Honoured()) }

func TestProxyProtocolUpstream(t *testing.T) {
	ca := transporttest.Authority(t)
	for name, inner := range map[string]*corev3.TransportSocket{
		"raw": nil, "tls": transporttest.Socket(t, transporttest.Client(ca, "a.test")),
	} {
		t.Run(name, func(t *testing.T) {
			u := of(t, &ppv3.ProxyProtocolUpstreamTransport{TransportSocket: inner}, transport.Deps{})
			if u.Secure() != (inner != nil) {
				t.Errorf("Secure: %v", u.Secure())
			}
			ours, peer := transporttest.Pair(t)
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() {
				const want = "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n"
				got := make([]byte, len(want))
				if _, err := io.ReadFull(peer, got); err != nil || string(got) != want {
					t.Errorf("header: %q, %v", got, err)
				}
				var server network.Conn = peer
				if inner != nil {
					var err error
					server, err = downstream(t, transporttest.Server(transporttest.Issue(t, ca, "a.test"))).Wrap(t.Context(), peer, network.NewStreamInfo(2))
					if err != nil {
						t.Error(err)
						return
					}
				}
				if b, err := io.ReadAll(server); err != nil || string(b) != "payload" {
					t.Errorf("behind the header: %q, %v", b, err)
				}
			})
			c, err := u.Wrap(t.Context(), ours, transport.Options{Info: flowInfo()})
			if err != nil {
				t.Fatal(err)
			}
			if inner == nil && c != network.Conn(ours) {
				t.Errorf("the connection is hidden in a %T", c)
			}
			if _, err := c.Write([]byte("payload")); err != nil {
				t.Error(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestProxyProtocolUpstreamIsBounded(t *testing.T) {
	u := of(t, &ppv3.ProxyProtocolUpstreamTransport{}, transport.Deps{})
	ours, _ := transporttest.Pair(t)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := u.Wrap(ctx, ours, transport.Options{}); !errors.Is(err, why) || network.ReasonFor(err) != network.ReasonCanceled {
		t.Errorf("%v", err)
	}
	if _, err := ours.Write([]byte("x")); err == nil {
		t.Error("the connection is still open")
	}
}

func TestPoolKeys(t *testing.T) {
	other := flowInfo()
	other.RemoteAddress = addr("192.0.2.1:1001")
	shares := flowInfo()
	shares.ShareFilterState("k", "v", network.SharedOnce)
	viaProxy := flowInfo()
	viaProxy.SetFilterState(transport.StateHTTP11Proxy, "a.test,192.0.2.9:3128")
	host := transport.Options{Info: flowInfo(), Endpoint: addr("192.0.2.3:443"), HostMetadata: proxyMetadata(t, "192.0.2.8")}
	tunnel := &culvertv1.TunnelTransport{Cluster: "p", Hostname: "%DOWNSTREAM_REMOTE_ADDRESS%"}
	d := transport.Deps{Tunnel: func(context.Context, string, string, *network.StreamInfo) (network.Conn, error) { return nil, nil }}
	inner := func(m proto.Message) *corev3.TransportSocket { return transporttest.Socket(t, m) }
	for _, c := range []struct {
		name string
		m    proto.Message
		o    transport.Options
		same bool
	}{
		{"TLS", transporttest.Client(nil, "a.test"), transport.Options{Info: other}, true},
		{"PROXY header", &ppv3.ProxyProtocolUpstreamTransport{}, transport.Options{Info: other}, false},
		{"PROXY header within", &iuv3.InternalUpstreamTransport{TransportSocket: inner(&ppv3.ProxyProtocolUpstreamTransport{})}, transport.Options{Info: other}, false},
		{"nothing shared", &iuv3.InternalUpstreamTransport{}, transport.Options{Info: other}, true},
		{"shared state", &iuv3.InternalUpstreamTransport{}, transport.Options{Info: shares}, false},
		{"no proxy", &h11v3.Http11ProxyUpstreamTransport{}, transport.Options{Info: other}, true},
		{"the flow's proxy", &h11v3.Http11ProxyUpstreamTransport{}, transport.Options{Info: viaProxy}, false},
		{"the endpoint's proxy", &h11v3.Http11ProxyUpstreamTransport{}, host, false},
		{"a tunnel for each", tunnel, transport.Options{Info: other}, false},
		{"a tunnel for all", &culvertv1.TunnelTransport{Cluster: "p"}, transport.Options{Info: other, Endpoint: addr("192.0.2.3:443")}, true},
	} {
		u := of(t, c.m, d)
		first, err1 := transport.PoolKey(u, transport.Options{Info: flowInfo(), Endpoint: addr("192.0.2.3:443")})
		second, err2 := transport.PoolKey(u, c.o)
		if err1 != nil || err2 != nil || (first == second) != c.same {
			t.Errorf("%s: %q, %v and %q, %v", c.name, first, err1, second, err2)
		}
	}
}

func cluster() *metadatav3.MetadataKind {
	return &metadatav3.MetadataKind{Kind: &metadatav3.MetadataKind_Cluster_{Cluster: &metadatav3.MetadataKind_Cluster{}}}
}

func host() *metadatav3.MetadataKind {
	return &metadatav3.MetadataKind{Kind: &metadatav3.MetadataKind_Host_{Host: &metadatav3.MetadataKind_Host{}}}
}

func metadata(t *testing.T, namespace string, fields map[string]any) *corev3.Metadata {
	t.Helper()
	s, err := structpb.NewStruct(fields)
	if err != nil {
		t.Fatal(err)
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{namespace: s}}
}

func TestK10InternalUpstreamPasses(t *testing.T) {
	s := stats.NewStore()
	u := of(t, &iuv3.InternalUpstreamTransport{PassthroughMetadata: []*iuv3.InternalUpstreamTransport_MetadataValueSource{
		{Kind: cluster(), Name: "both"}, {Kind: host(), Name: "both"}, {Kind: cluster(), Name: "none"},
	}}, transport.Deps{Stats: s.Scope("cluster.x.")})
	iu, ok := transport.Internal(u)
	if !ok || !transport.Plain(u) {
		t.Fatalf("internal %v, plain %v", ok, transport.Plain(u))
	}
	flow := flowInfo()
	flow.ShareFilterState("shared", "yes", network.SharedOnce)
	flow.SetFilterState("kept", "no")
	inner := flow.Inner(2)
	iu.Passthrough(flow, inner,
		metadata(t, "both", map[string]any{"of": "cluster", "only": "there"}),
		metadata(t, "both", map[string]any{"of": "host", "n": 1, "deep": map[string]any{"a": "b"}}))
	both := inner.Metadata["both"]
	if len(both) != 3 || both["of"] != "host" || both["n"] != 1.0 || fmt.Sprint(both["deep"]) != "map[a:b]" {
		t.Errorf("metadata: %v", inner.Metadata)
	}
	if len(inner.FilterState) != 1 || inner.FilterState.Get("shared") != "yes" {
		t.Errorf("filter state: %v", inner.FilterState)
	}
	if n := value(s, "cluster.x.internal_upstream.no_metadata"); n != 1 {
		t.Errorf("no_metadata: %d", n)
	}
}

func TestK14UnsupportedMetadataKind(t *testing.T) {
	request := &metadatav3.MetadataKind{Kind: &metadatav3.MetadataKind_Request_{Request: &metadatav3.MetadataKind_Request{}}}
	_, err := transport.NewUpstream(transporttest.Socket(t, &iuv3.InternalUpstreamTransport{
		PassthroughMetadata: []*iuv3.InternalUpstreamTransport_MetadataValueSource{{Kind: host(), Name: "a"}, {Kind: request, Name: "b"}},
	}), transport.Deps{})
	all := field.All(err)
	if len(all) != 1 || all[0].Path != "typed_config.passthrough_metadata[1].kind" || all[0].Err.Error() != "metadata type is not supported" {
		t.Errorf("%v", err)
	}
}

func TestPlain(t *testing.T) {
	for _, c := range []struct {
		m    proto.Message
		want bool
	}{
		{transporttest.Client(nil, "a.test"), false},
		{&ppv3.ProxyProtocolUpstreamTransport{}, false},
		{&iuv3.InternalUpstreamTransport{TransportSocket: transporttest.Socket(t, transporttest.Client(nil, "a.test"))}, false},
	} {
		if got := transport.Plain(of(t, c.m, transport.Deps{})); got != c.want {
			t.Errorf("%T: %v", c.m, got)
		}
	}
}

func TestTunnelTransport(t *testing.T) {
	ca := transporttest.Authority(t)
	server := downstream(t, transporttest.Server(transporttest.Issue(t, ca, "a.test")))
	ours, peer := transporttest.Pair(t)
	var asked string
	d := transport.Deps{Tunnel: func(_ context.Context, cluster, authority string, info *network.StreamInfo) (network.Conn, error) {
		asked = fmt.Sprintf("%s %s %d", cluster, authority, info.ID)
		return ours, nil
	}}
	u := of(t, &culvertv1.TunnelTransport{Cluster: "proxy", TransportSocket: packed(t, transporttest.Client(ca, "a.test"))}, d)
	if name, ok := transport.TunnelCluster(u); !ok || name != "proxy" || !u.Secure() {
		t.Errorf("cluster %q, %v; secure %v", name, ok, u.Secure())
	}
	o := transport.Options{Info: flowInfo(), Endpoint: network.NameAddress("a.test", 443)}
	way, err := transport.WayTo(u, o)
	if err != nil || way.Open == nil || !way.Proxy.IsZero() {
		t.Fatalf("%+v, %v", way, err)
	}
	raw, err := way.Open(t.Context())
	if err != nil || asked != "proxy a.test:443 1" {
		t.Fatalf("asked for %q, %v", asked, err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if _, err := server.Wrap(t.Context(), peer, network.NewStreamInfo(2)); err != nil {
			t.Error(err)
		}
	})
	conn, err := u.Wrap(t.Context(), raw, o)
	if err != nil || transport.ConnTLS(conn) == nil {
		t.Errorf("%v, TLS %v", err, transport.ConnTLS(conn))
	}
}

func TestTunnelHostname(t *testing.T) {
	d := transport.Deps{Tunnel: func(_ context.Context, _, authority string, _ *network.StreamInfo) (network.Conn, error) {
		return nil, errors.New(authority)
	}}
	u := of(t, &culvertv1.TunnelTransport{Cluster: "proxy", Hostname: "%FILTER_STATE(to:PLAIN)%:443"}, d)
	for to, want := range map[string]string{"a.test": "a.test:443", "": "", "a\r\nX: y": "", "a b": ""} {
		info := flowInfo()
		info.SetFilterState("to", to)
		way, err := transport.WayTo(u, transport.Options{Info: info})
		got := ""
		if err == nil {
			_, opened := way.Open(t.Context())
			got = opened.Error()
		}
		if got != want {
			t.Errorf("%q: asked for %q, want %q", to, got, want)
		}
	}
}

func TestWrappingConfigErrors(t *testing.T) {
	open := transport.Deps{Tunnel: func(context.Context, string, string, *network.StreamInfo) (network.Conn, error) { return nil, nil }}
	badTLS := transporttest.Socket(t, &ppv3.ProxyProtocolUpstreamTransport{Config: &corev3.ProxyProtocolConfig{AddedTlvs: []*corev3.TlvEntry{{Type: 1}}}})
	internal := &corev3.Address{Address: &corev3.Address_EnvoyInternalAddress{}}
	for _, c := range []struct {
		name string
		m    proto.Message
		d    transport.Deps
		path string
	}{
		{"a TLV", &iuv3.InternalUpstreamTransport{TransportSocket: badTLS}, open, "typed_config.transport_socket.typed_config.config.added_tlvs"},
		{"a proxy that is no address", &h11v3.Http11ProxyUpstreamTransport{DefaultProxyAddress: internal}, open, "typed_config.default_proxy_address"},
		{"a proxy without a port", &h11v3.Http11ProxyUpstreamTransport{DefaultProxyAddress: socketAddress("a.test", 0)}, open, "typed_config.default_proxy_address.socket_address.port_value"},
		{"no tunnels", &culvertv1.TunnelTransport{Cluster: "p"}, transport.Deps{}, "typed_config.cluster"},
		{"a bad format", &culvertv1.TunnelTransport{Cluster: "p", Hostname: "%NO%"}, open, "typed_config.hostname"},
		{"a hostname that is none", &culvertv1.TunnelTransport{Cluster: "p", Hostname: "a.test"}, open, "typed_config.hostname"},
		{"an inner transport that is none", &culvertv1.TunnelTransport{Cluster: "p", TransportSocket: packed(t, &corev3.Address{})}, open, "typed_config.transport_socket"},
	} {
		_, err := transport.NewUpstream(transporttest.Socket(t, c.m), c.d)
		var paths []string
		for _, e := range field.All(err) {
			paths = append(paths, e.Path)
		}
		if len(paths) == 0 || !strings.HasPrefix(paths[0], c.path) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := transport.ProxyOf(&corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{
		"envoy.http11_proxy_transport_socket.proxy_address": packed(t, internal),
	}}); err == nil {
		t.Error("an endpoint's proxy may be anything")
	}
}
