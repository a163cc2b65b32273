package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"

	"culvert/configs/field"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
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
	// HostName is the endpoint's hostname: the SNI where auto_host_sni is set.
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

// NewUpstream compiles an upstream transport_socket; nil is raw_buffer.
func NewUpstream(ts *corev3.TransportSocket, d Deps) (Upstream, error) {
	return raw{}, nil
}

// NewDownstream compiles a downstream transport_socket; nil is raw_buffer.
func NewDownstream(ts *corev3.TransportSocket, d Deps) (Downstream, error) {
	return rawDownstream{}, nil
}

// ConnTLS is the TLS state of a connection, nil without TLS. It looks through
// observers.
func ConnTLS(c network.Conn) *tls.ConnectionState { return nil }

// Honoured declares the fields the constructors read.
func Honoured() field.Honoured { return field.Honoured{} }
