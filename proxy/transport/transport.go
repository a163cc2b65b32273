package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"

	"culvert/configs/field"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rawv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
)

// Upstream wraps a connection that was dialled. It is safe from any goroutine.
type Upstream interface {
	// Wrap makes c a connection of this transport, within ctx. It owns c, also
	// on error, when c is aborted. The error's Reason is ReasonGateway, or
	// ReasonCanceled if ctx was canceled.
	Wrap(ctx context.Context, c network.Conn, o Options) (network.Conn, error)
	// Secure reports that the bytes are encrypted: :scheme is https.
	Secure() bool
}

// Downstream wraps a connection that was accepted. It is safe from any
// goroutine.
type Downstream interface {
	// Wrap makes c a connection of this transport, within ctx, and fills TLS,
	// ServerName and ALPN of info. It owns c, also on error, when c is aborted.
	Wrap(ctx context.Context, c network.Conn, info *network.StreamInfo) (network.Conn, error)
	// Secure reports that the bytes are encrypted.
	Secure() bool
}

// Options are what one connection has of its own.
type Options struct {
	// ServerName, where set, is the SNI instead of the configured one.
	ServerName string
	// HostName is the name the endpoint was found under. It is the SNI where
	// auto_host_sni is set, and the name a certificate must have where there is
	// no SNI and no trust of the configuration's own.
	HostName string
	// ALPN is offered where the configuration names no protocols.
	ALPN []string
	// Info is the flow the connection is for, nil for a pooled one. It is only
	// read.
	Info *network.StreamInfo
}

// Deps are what the transports need from outside.
type Deps struct {
	// SystemRoots are the certificates trusted where the configuration names
	// none; nil means the system's.
	SystemRoots *x509.CertPool
}

// NewUpstream compiles an upstream transport_socket; nil is raw_buffer. Files
// it names are read here, once.
func NewUpstream(ts *corev3.TransportSocket, d Deps) (Upstream, error) {
	m, err := unpack(ts)
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case nil, *rawv3.RawBuffer:
		return rawUpstream{}, nil
	case *tlsv3.UpstreamTlsContext:
		u, err := newTLSUpstream(m, d)
		if err != nil {
			return nil, field.At("typed_config", err)
		}
		return u, nil
	}
	return nil, unknown(ts, "an upstream")
}

// NewDownstream compiles a downstream transport_socket; nil is raw_buffer.
// Files it names are read here, once.
func NewDownstream(ts *corev3.TransportSocket, d Deps) (Downstream, error) {
	m, err := unpack(ts)
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case nil, *rawv3.RawBuffer:
		return rawDownstream{}, nil
	case *tlsv3.DownstreamTlsContext:
		t, err := newTLSDownstream(m, d)
		if err != nil {
			return nil, field.At("typed_config", err)
		}
		return t, nil
	}
	return nil, unknown(ts, "a downstream")
}

// unpack returns the message in ts; nil if there is no transport socket.
func unpack(ts *corev3.TransportSocket) (proto.Message, error) {
	if ts == nil {
		return nil, nil
	}
	if ts.GetTypedConfig() == nil {
		return nil, unknown(ts, "a")
	}
	m, err := ts.GetTypedConfig().UnmarshalNew()
	if err != nil {
		return nil, field.At("typed_config", err)
	}
	return m, nil
}

// unknown is Envoy's error for an extension that is not there.
func unknown(ts *corev3.TransportSocket, side string) error {
	return field.WithFix(field.Errorf("typed_config",
		"Didn't find a registered implementation for '%s' with type URL: '%s'",
		ts.GetName(), ts.GetTypedConfig().GetTypeUrl()),
		side+" transport socket is raw_buffer or tls")
}

// ConnTLS is the TLS state of a connection, nil without TLS. It looks through
// observers.
func ConnTLS(c network.Conn) *tls.ConnectionState {
	if t, ok := find[*tlsConn](c); ok {
		return t.state
	}
	return nil
}

// find looks for a T beneath the observers around c.
func find[T any](c network.Conn) (T, bool) {
	for {
		if t, ok := c.(T); ok {
			return t, true
		}
		u, ok := c.(network.Unwrapper)
		if !ok {
			var none T
			return none, false
		}
		c = u.Unwrap()
	}
}
