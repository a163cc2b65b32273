package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"

	culvertv1 "culvert/configs/culvert/v1"
	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/stats"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	h11v3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/http_11_proxy/v3"
	iuv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/internal_upstream/v3"
	ppv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	rawv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
)

// Upstream wraps a connection that was dialled. It is safe from any goroutine.
type Upstream interface {
	// Wrap makes c a connection of this transport, within ctx. It owns c, also
	// on error, when c is aborted. The error's Reason is ReasonGateway,
	// ReasonCanceled if ctx was canceled, or what a *RefusedError says.
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
	// Info is the flow the connection is for, nil for a pooled one that several
	// share. It is only read.
	Info *network.StreamInfo
	// Endpoint is the endpoint as picked, a name not yet resolved. What a proxy
	// or a tunnel on the way is asked for, and the name a certificate must have
	// where there is no other.
	Endpoint network.Address
	// HostMetadata and LocalityMetadata are those of the endpoint and of its
	// locality; nil if they have none.
	HostMetadata, LocalityMetadata *corev3.Metadata
	// AbsoluteForm: the connection is for HTTP/1.1 requests, none of them a
	// CONNECT or an upgrade, and whoever writes them uses the absolute form where
	// AbsoluteForm(u, o) says so.
	AbsoluteForm bool
}

// Deps are what the transports need from outside.
type Deps struct {
	// SystemRoots are the certificates trusted where the configuration names
	// none; nil means the system's.
	SystemRoots *x509.CertPool
	// Secrets re-reads the files that transports are built of, and knows all
	// certificates; nil: files are read once.
	Secrets *Secrets
	// Stats is the scope of the listener or the cluster: ssl.handshake and the
	// like are in it. nil: nothing is counted.
	Stats *stats.Scope
	// Tunnel opens a byte stream to authority, a host:port, through a CONNECT of
	// a cluster, for the flow info, which may be nil. It is asked for each
	// connection of a culvert.v1.TunnelTransport. Without it there is none.
	Tunnel func(ctx context.Context, cluster, authority string, info *network.StreamInfo) (network.Conn, error)
	// Log is for what no connection can be told; nil: nowhere.
	Log *slog.Logger
}

func (d Deps) withDefaults() Deps {
	if d.Stats == nil {
		d.Stats = stats.NewStore().Scope("")
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return d
}

// NewUpstream compiles an upstream transport_socket; nil is raw_buffer. Files
// it names are read here, and again when they change if there is a Secrets.
func NewUpstream(ts *corev3.TransportSocket, d Deps) (Upstream, error) {
	m, err := unpack(ts)
	if err != nil {
		return nil, err
	}
	u, err := compileUpstream(ts, m, d.withDefaults())
	if err != nil {
		return nil, field.At("typed_config", err)
	}
	return u, nil
}

// compileUpstream compiles the message m that ts holds. Errors are relative to
// m.
func compileUpstream(ts *corev3.TransportSocket, m proto.Message, d Deps) (u Upstream, err error) {
	switch m := m.(type) {
	case nil, *rawv3.RawBuffer:
		return rawUpstream{}, nil
	case *tlsv3.UpstreamTlsContext:
		return newTLSUpstream(m, d)
	case *ppv3.ProxyProtocolUpstreamTransport:
		return newProxyProtocolUpstream(m, d)
	case *iuv3.InternalUpstreamTransport:
		return newInternalUpstream(m, d)
	case *h11v3.Http11ProxyUpstreamTransport:
		return newHTTP11Proxy(m, d)
	case *culvertv1.TunnelTransport:
		return newTunnelUpstream(m, d)
	}
	return nil, unknown(ts, "an upstream transport socket is raw_buffer, tls, upstream_proxy_protocol, internal_upstream, http_11_proxy or culvert's tunnel")
}

// NewDownstream compiles a downstream transport_socket; nil is raw_buffer.
// Files it names are read here, and again when they change if there is a Secrets.
func NewDownstream(ts *corev3.TransportSocket, d Deps) (Downstream, error) {
	d = d.withDefaults()
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
	return nil, field.At("typed_config", unknown(ts, "a downstream transport socket is raw_buffer or tls"))
}

// unpack returns the message in ts; nil if there is no transport socket.
func unpack(ts *corev3.TransportSocket) (proto.Message, error) {
	if ts == nil {
		return nil, nil
	}
	if ts.GetTypedConfig() == nil {
		return nil, field.At("typed_config", unknown(ts, "a transport socket has a typed_config"))
	}
	m, err := ts.GetTypedConfig().UnmarshalNew()
	if err != nil {
		return nil, field.At("typed_config", err)
	}
	return m, nil
}

// unknown is Envoy's error for an extension that is not there.
func unknown(ts *corev3.TransportSocket, fix string) error {
	return field.WithFix(field.Errorf("",
		"Didn't find a registered implementation for '%s' with type URL: '%s'",
		ts.GetName(), ts.GetTypedConfig().GetTypeUrl()), fix)
}

// ConnTLS is the TLS state of a connection, nil without TLS. It looks through
// observers.
func ConnTLS(c network.Conn) *tls.ConnectionState {
	if t, ok := network.Beneath[*tlsConn](c); ok {
		return t.state
	}
	return nil
}
