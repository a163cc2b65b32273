package tunneltest

import (
	"net/netip"
	"testing"

	"culvert/proxy/codec"
	"culvert/tunnel"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Pack is a message as extensions carry it.
func Pack(t testing.TB, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// tcpProxy completes what the test set of a TcpProxy.
func tcpProxy(t testing.TB, m tunnel.Mode, o Options) *tcpproxyv3.TcpProxy {
	p := &tcpproxyv3.TcpProxy{}
	if o.Proxy != nil {
		p = proto.CloneOf(o.Proxy)
	}
	p.StatPrefix = "t"
	p.ClusterSpecifier = &tcpproxyv3.TcpProxy_Cluster{Cluster: "edge"}
	if p.TunnelingConfig == nil {
		p.TunnelingConfig = &tcpproxyv3.TcpProxy_TunnelingConfig{}
	}
	if p.TunnelingConfig.Hostname == "" {
		p.TunnelingConfig.Hostname = "foo.lyft.com:80"
	}
	p.TunnelingConfig.UsePost = m.Method == tunnel.MethodPost
	if o.Format != "" {
		p.AccessLog = stdout(t, o.Format)
	}
	return p
}

// edge is the cluster of the gateway.
func edge(t testing.TB, g *Gateway, o Options) *clusterv3.Cluster {
	at, err := netip.ParseAddrPort(g.Addr())
	if err != nil {
		t.Fatal(err)
	}
	connect := Limit
	if o.Connect > 0 {
		connect = o.Connect
	}
	m := &clusterv3.Cluster{
		Name: "edge", ConnectTimeout: durationpb.New(connect),
		LoadAssignment: &endpointv3.ClusterLoadAssignment{Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: socketAddress(at)}},
		}}}}},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": Pack(t, protocolOptions(g.Mode, o)),
		},
	}
	tls := o.TLS
	if tls == nil {
		tls = g.Trust()
	}
	if tls != nil {
		m.TransportSocket = &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: Pack(t, tls)}}
	}
	return m
}

func protocolOptions(m tunnel.Mode, o Options) *httpv3.HttpProtocolOptions {
	explicit := &httpv3.HttpProtocolOptions_ExplicitHttpConfig{}
	if m.Proto == codec.HTTP11 {
		explicit.ProtocolConfig = &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
		}
	} else {
		h2 := o.HTTP2
		if h2 == nil {
			h2 = &corev3.Http2ProtocolOptions{}
		}
		explicit.ProtocolConfig = &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: h2}
	}
	return &httpv3.HttpProtocolOptions{UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: explicit}}
}

func listenerConfig(t testing.TB, o Options) *listenerv3.Listener {
	chain := &listenerv3.FilterChain{Filters: []*listenerv3.Filter{{Name: "tcp"}}}
	if o.Downstream != nil {
		chain.TransportSocket = &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: Pack(t, o.Downstream)}}
	}
	return &listenerv3.Listener{
		Name: "l", Address: socketAddress(netip.MustParseAddrPort("127.0.0.1:0")), FilterChains: []*listenerv3.FilterChain{chain},
	}
}

func socketAddress(at netip.AddrPort) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: at.Addr().String(), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(at.Port())},
	}}}
}

func stdout(t testing.TB, format string) []*accesslogv3.AccessLog {
	return []*accesslogv3.AccessLog{{Name: "stdout", ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: Pack(t, &streamv3.StdoutAccessLog{
		AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: format},
			}},
		}},
	})}}}
}
