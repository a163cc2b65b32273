package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"culvert/configs/field"
	"culvert/proxy/network"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// defaultSessionKeys is how many sessions are kept to be resumed, as Envoy's
// max_session_keys.
const defaultSessionKeys = 1

// tlsUpstream is the client's side of TLS.
type tlsUpstream struct {
	current *atomic.Pointer[*clientContext]
	keyLog  *keyLog
	n       *tlsCounters
	sni     string
	hostSNI bool // the endpoint's name is the SNI
}

// clientContext is an UpstreamTlsContext with its files as they were at one
// time. It is immutable, but for its sessions.
type clientContext struct {
	config   *tls.Config // cloned for each connection
	verifier *verifier   // nil: any certificate
	certs    []shown
}

func newTLSUpstream(m *tlsv3.UpstreamTlsContext, d Deps) (*tlsUpstream, error) {
	log, err := newKeyLog(m.GetCommonTlsContext().GetKeyLog(), d.Log)
	current, buildErr := watch(d.Secrets, m, func() (*clientContext, error) { return newClientContext(m, d) })
	if err := field.Join(field.At("common_tls_context.key_log", err), buildErr); err != nil {
		return nil, err
	}
	return &tlsUpstream{
		current: current, keyLog: log, n: newTLSCounters(d.Stats),
		sni: m.GetSni(), hostSNI: m.GetAutoHostSni(),
	}, nil
}

func newClientContext(m *tlsv3.UpstreamTlsContext, d Deps) (*clientContext, error) {
	common := m.GetCommonTlsContext()
	cfg, err := newConfig(common)
	certs, certErr := loadCertificates(common.GetTlsCertificates())
	errs := []error{err, certErr}
	v, err := newServerVerifier(common.GetValidationContext(), m.GetAutoSniSanValidation(), d)
	errs = append(errs, field.At("validation_context", err))
	if n := len(common.GetTlsCertificates()); n > 1 {
		errs = append(errs, field.Errorf("tls_certificates", "%d certificates; a client shows only one", n))
	}
	if err := field.Join(errs...); err != nil {
		return nil, field.At("common_tls_context", err)
	}
	// The verifier does it all, also for resumed sessions: crypto/tls itself can
	// verify no name but the SNI, and no pins.
	cfg.InsecureSkipVerify = true
	if keys := sessionKeys(m); keys > 0 {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(keys)
	}
	if len(certs) > 0 {
		// Shown whenever it is asked for, whatever authorities the server lists.
		cert := &certs[0].Certificate
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return &clientContext{config: cfg, verifier: v, certs: certs}, nil
}

// certificates implements holder.
func (c *clientContext) certificates() []Certificate {
	var out []Certificate
	for _, s := range c.certs {
		out = append(out, s.chain()...)
	}
	if c.verifier != nil {
		out = append(out, c.verifier.trusted...)
	}
	return out
}

func sessionKeys(m *tlsv3.UpstreamTlsContext) int {
	if k := m.GetMaxSessionKeys(); k != nil {
		return int(k.GetValue())
	}
	return defaultSessionKeys
}

func (*tlsUpstream) Secure() bool { return true }

func (u *tlsUpstream) Wrap(ctx context.Context, c network.Conn, o Options) (network.Conn, error) {
	remote := c.RemoteAddr()
	cfg := u.configFor(*u.current.Load(), o, network.AddressOf(remote))
	if u.keyLog.wants(c) {
		cfg.KeyLogWriter = u.keyLog
	}
	conn, err := handshake(ctx, c, func(w net.Conn) *tls.Conn { return tls.Client(w, cfg) })
	if err == nil {
		u.n.done(conn.state)
		return conn, nil
	}
	u.n.failed(ctx, err)
	return nil, gatewayError(ctx, fmt.Errorf("tls handshake with %s: %w", remote, err))
}

// gatewayError says that the way to the endpoint failed, unless whoever asked
// went away, which says nothing of the peer.
func gatewayError(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return network.WithReason(network.ReasonCanceled, err)
	}
	return network.WithReason(network.ReasonGateway, err)
}

// configFor is the configuration of one connection.
func (u *tlsUpstream) configFor(current *clientContext, o Options, remote network.Address) *tls.Config {
	cfg := current.config.Clone()
	cfg.ServerName = u.serverName(o)
	if len(cfg.NextProtos) == 0 {
		cfg.NextProtos = o.ALPN
	}
	v := current.verifier
	if v == nil {
		return cfg
	}
	names := peerNames{sni: cfg.ServerName, host: strings.TrimSuffix(o.HostName, ".")}
	if names.host == "" {
		names.host = hostOf(o.Endpoint, remote)
	}
	cfg.VerifyConnection = func(cs tls.ConnectionState) error { return v.verify(cs.PeerCertificates, names) }
	return cfg
}

// hostOf is the host of the endpoint, or where that is not known of who was
// dialled.
func hostOf(endpoint, remote network.Address) string {
	if endpoint.IsZero() {
		endpoint = remote
	}
	if endpoint.Kind == network.AddressPipe || endpoint.Kind == network.AddressInternal {
		return ""
	}
	return endpoint.Host()
}

// serverName is the SNI: the connection's own, the endpoint's name where
// auto_host_sni says so, else the configured one.
func (u *tlsUpstream) serverName(o Options) string {
	name := u.sni
	switch {
	case o.ServerName != "":
		name = o.ServerName
	case u.hostSNI && o.HostName != "":
		name = o.HostName
	}
	return strings.TrimSuffix(name, ".") // RFC 6066 §3: without a trailing dot
}

// newServerVerifier compiles how servers are verified. Where the configuration
// names nothing to trust these are the system's authorities, and the name must
// be right; Envoy would accept any certificate.
func newServerVerifier(m *tlsv3.CertificateValidationContext, onlySNI bool, d Deps) (*verifier, error) {
	v, err := newVerifier(m, x509.ExtKeyUsageServerAuth, d)
	if err != nil || v == nil {
		return nil, err
	}
	if onlySNI {
		v.names, v.sans = nameSNIRequired, nil
	}
	if v.roots == nil && len(v.pins) == 0 {
		v.roots = d.SystemRoots // nil again means the system's
		v.chain, v.public = true, true
	}
	if v.public && v.names == nameSNI && len(v.sans) == 0 {
		v.names = nameAlways
	}
	return v, nil
}
