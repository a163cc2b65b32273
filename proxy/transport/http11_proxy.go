package transport

import (
	"context"
	"fmt"
	"net"
	"strings"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	h11v3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/http_11_proxy/v3"
)

// StateHTTP11Proxy is the name of the filter state that holds a *HTTP11Proxy,
// or its text: "host:port,proxy address:port".
const StateHTTP11Proxy = "envoy.network.transport_socket.http_11_proxy.info"

// HTTP11Proxy is a proxy that one flow goes through.
type HTTP11Proxy struct {
	// Hostname is what the CONNECT asks for, a host with or without a port; 443
	// is the default.
	Hostname string
	// Address is the proxy's.
	Address network.Address
}

// String prints it as it may be written.
func (p *HTTP11Proxy) String() string { return p.Hostname + "," + p.Address.String() }

func parseHTTP11Proxy(s string) (*HTTP11Proxy, error) {
	host, proxy, ok := strings.Cut(s, ",")
	if !ok {
		return nil, fmt.Errorf("filter state %s: want host:port,proxy:port", StateHTTP11Proxy)
	}
	address, err := network.ParseHostPort(proxy)
	if err != nil {
		return nil, fmt.Errorf("filter state %s: proxy: %w", StateHTTP11Proxy, err)
	}
	return &HTTP11Proxy{Hostname: host, Address: address}, nil
}

// http11Proxy goes through an HTTP/1.1 proxy, where the flow, the endpoint or
// the configuration names one, and is its inner transport alone where none
// does.
type http11Proxy struct {
	wrapping
	fallback network.Address // default_proxy_address; unset: none
}

func newHTTP11Proxy(m *h11v3.Http11ProxyUpstreamTransport, d Deps) (Upstream, error) {
	inner, innerErr := NewUpstream(m.GetTransportSocket(), d)
	u := &http11Proxy{wrapping: wrapping{inner}}
	var err error
	if m.GetDefaultProxyAddress() != nil {
		u.fallback, err = proxyAddress(m.GetDefaultProxyAddress())
	}
	if err := field.Join(field.At("transport_socket", innerErr), field.At("default_proxy_address", err)); err != nil {
		return nil, err
	}
	return u, nil
}

func proxyAddress(m *corev3.Address) (network.Address, error) {
	switch a := m.GetAddress().(type) {
	case *corev3.Address_Pipe:
		return network.PipeAddress(a.Pipe.GetPath()), nil
	case *corev3.Address_SocketAddress:
		sa := a.SocketAddress
		switch port := sa.GetPortValue(); {
		case sa.GetProtocol() != corev3.SocketAddress_TCP:
			return network.Address{}, field.Errorf("socket_address.protocol", "a proxy is reached by TCP")
		case port == 0 || port > 65535:
			return network.Address{}, field.Errorf("socket_address.port_value", "port must be 1 to 65535")
		default:
			return network.NameAddress(sa.GetAddress(), uint16(port)), nil
		}
	}
	return network.Address{}, field.Errorf("", "a proxy needs a socket_address or a pipe")
}

// proxyMetadata is the namespace of the typed metadata that names an endpoint's
// proxy.
const proxyMetadata = "envoy.http11_proxy_transport_socket.proxy_address"

// ProxyOf is the proxy that metadata of an endpoint or a locality names, unset
// if none. A cluster asks when it is built, to learn of errors. Errors are
// relative to the Metadata.
func ProxyOf(m *corev3.Metadata) (network.Address, error) {
	packed, ok := m.GetTypedFilterMetadata()[proxyMetadata]
	if !ok {
		return network.Address{}, nil
	}
	var a corev3.Address
	if err := packed.UnmarshalTo(&a); err != nil {
		return network.Address{}, field.At("typed_filter_metadata."+proxyMetadata, err)
	}
	address, err := proxyAddress(&a)
	return address, field.At("typed_filter_metadata."+proxyMetadata, err)
}

// detour is the proxy of a connection and what it is asked for. The proxy is
// unset if there is none.
type detour struct {
	proxy  network.Address
	target string // host:port
}

// detour looks where Envoy does, in its order: the flow, the endpoint, its
// locality, the configuration.
func (u *http11Proxy) detour(o Options) (detour, error) {
	if p, err := flowsProxy(o.Info); err != nil || p != nil {
		if err != nil {
			return detour{}, err
		}
		target, err := withPort(p.Hostname)
		return detour{p.Address, target}, err
	}
	proxy := u.fallback
	for _, m := range []*corev3.Metadata{o.HostMetadata, o.LocalityMetadata} {
		p, err := ProxyOf(m)
		if err != nil {
			return detour{}, err
		}
		if !p.IsZero() {
			proxy = p
			break
		}
	}
	if proxy.IsZero() {
		return detour{}, nil
	}
	switch o.Endpoint.Kind {
	case network.AddressIP, network.AddressName:
		return detour{proxy, o.Endpoint.String()}, nil
	}
	return detour{}, fmt.Errorf("endpoint %s cannot be reached through a proxy", o.Endpoint)
}

// flowsProxy is what the flow says itself; nil if nothing.
func flowsProxy(info *network.StreamInfo) (*HTTP11Proxy, error) {
	if info == nil {
		return nil, nil
	}
	v, ok := info.LookupFilterState(StateHTTP11Proxy)
	if !ok {
		return nil, nil
	}
	switch v := v.(type) {
	case *HTTP11Proxy:
		return v, nil
	case string:
		return parseHTTP11Proxy(v)
	}
	return nil, fmt.Errorf("filter state %s: is a %T", StateHTTP11Proxy, v)
}

// withPort is a CONNECT's target of a host that may lack its port. It may come
// from a client: what is no host is refused.
func withPort(host string) (string, error) {
	if _, err := network.ParseHostPort(host); err == nil {
		return host, nil
	}
	target := net.JoinHostPort(strings.Trim(host, "[]"), "443")
	if _, err := network.ParseHostPort(target); err != nil {
		return "", fmt.Errorf("proxy target: %w", err)
	}
	return target, nil
}

func (u *http11Proxy) way(o Options) (Way, error) {
	d, err := u.detour(o)
	if err != nil {
		return Way{}, network.WithReason(network.ReasonGateway, err)
	}
	if d.proxy.IsZero() {
		return WayTo(u.inner, o)
	}
	return Way{Proxy: d.proxy}, nil
}

func (u *http11Proxy) absoluteForm(o Options) bool {
	d, err := u.detour(o)
	return err == nil && !d.proxy.IsZero() && o.AbsoluteForm && !u.inner.Secure()
}

func (u *http11Proxy) poolKey(o Options) (string, error) {
	d, err := u.detour(o)
	if err != nil {
		return "", err
	}
	key := ""
	if !d.proxy.IsZero() {
		key = d.proxy.String() + " " + d.target
	}
	return joinKeys(key, u.inner, o)
}

// Wrap asks the proxy for a tunnel and speaks the inner transport in it. Where
// HTTP/1.1 requests follow in the clear, the proxy takes them as they are.
func (u *http11Proxy) Wrap(ctx context.Context, c network.Conn, o Options) (network.Conn, error) {
	d, err := u.detour(o)
	if err != nil {
		c.Abort(err)
		return nil, network.WithReason(network.ReasonGateway, err)
	}
	if !d.proxy.IsZero() && !u.absoluteForm(o) {
		passed, err := hop(o.Info)
		if err != nil {
			c.Abort(err)
			return nil, err
		}
		if c, err = connect(ctx, c, d, passed); err != nil {
			return nil, err
		}
	}
	return u.inner.Wrap(ctx, c, o)
}

// hop counts the CONNECT of a flow among those that passed it on; a pooled
// connection is for no flow, and its requests are counted themselves.
func hop(info *network.StreamInfo) (codec.Fields, error) {
	if info == nil {
		return nil, nil
	}
	n, err := info.NextHop()
	if err != nil {
		return nil, err
	}
	var h codec.Fields
	codec.AddHop(&h, n)
	return h, nil
}
