package transport

import (
	"context"
	"fmt"

	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/transport/proxyprotocol"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ppv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
)

// ProxyProtocolState is the filter state of the PROXY protocol, under
// StateProxyProtocol: what a header towards upstream says of a flow.
type ProxyProtocolState = proxyprotocol.State

// StateProxyProtocol is the name of the filter state that holds a
// *ProxyProtocolState.
const StateProxyProtocol = proxyprotocol.StateKey

// proxyProtocolUpstream sends a PROXY header before the inner transport's first
// byte.
type proxyProtocolUpstream struct {
	wrapping
	encoder *proxyprotocol.Encoder
}

func newProxyProtocolUpstream(m *ppv3.ProxyProtocolUpstreamTransport, d Deps) (Upstream, error) {
	inner, innerErr := NewUpstream(m.GetTransportSocket(), d)
	encoder, err := proxyprotocol.NewEncoder(m.GetConfig())
	if err := field.Join(field.At("config", err), field.At("transport_socket", innerErr)); err != nil {
		return nil, err
	}
	return &proxyProtocolUpstream{wrapping{inner}, encoder}, nil
}

func (u *proxyProtocolUpstream) Wrap(ctx context.Context, c network.Conn, o Options) (network.Conn, error) {
	err := interruptible(ctx, c, func() error {
		header, err := u.header(o)
		if err == nil {
			_, err = c.Write(header)
		}
		return err
	})
	if err != nil {
		return nil, gatewayError(ctx, fmt.Errorf("PROXY header to %s: %w", c.RemoteAddr(), err))
	}
	return u.inner.Wrap(ctx, c, o)
}

func (u *proxyProtocolUpstream) header(o Options) ([]byte, error) {
	host, err := proxyprotocol.HostTLVs(o.HostMetadata)
	if err != nil {
		return nil, err
	}
	return u.encoder.Header(o.Info, host)
}

// CheckHostMetadata says what is wrong with what transports read of an
// endpoint's metadata: its proxy, its TLVs. A cluster asks when it is built.
// Errors are relative to the Metadata.
func CheckHostMetadata(m *corev3.Metadata) error {
	_, proxyErr := ProxyOf(m)
	_, tlvErr := proxyprotocol.HostTLVs(m)
	return field.Join(proxyErr, tlvErr)
}

// poolKey is the header itself: it speaks of one client for as long as the
// connection lasts.
func (u *proxyProtocolUpstream) poolKey(o Options) (string, error) {
	header, err := u.header(o)
	if err != nil {
		return "", err
	}
	return joinKeys(string(header), u.inner, o)
}
