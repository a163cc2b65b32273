package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"culvert/configs/field"
	"culvert/proxy/network"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// tlsDownstream is the server's side of TLS.
type tlsDownstream struct {
	current *atomic.Pointer[*serverContext]
	keyLog  *keyLog
	n       *tlsCounters
}

// serverContext is a DownstreamTlsContext with its files as they were at one
// time. It is immutable.
type serverContext struct {
	config, logged *tls.Config // logged: with the key log; nil without one
	certs          []shown
	trusted        []Certificate
}

func newTLSDownstream(m *tlsv3.DownstreamTlsContext, d Deps) (*tlsDownstream, error) {
	log, err := newKeyLog(m.GetCommonTlsContext().GetKeyLog(), d.Log)
	current, buildErr := watch(d.Secrets, m, func() (*serverContext, error) { return newServerContext(m, log, d) })
	if err := field.Join(field.At("common_tls_context.key_log", err), buildErr); err != nil {
		return nil, err
	}
	return &tlsDownstream{current, log, newTLSCounters(d.Stats)}, nil
}

func newServerContext(m *tlsv3.DownstreamTlsContext, log *keyLog, d Deps) (*serverContext, error) {
	common := m.GetCommonTlsContext()
	cfg, err := newConfig(common)
	certs, certErr := loadCertificates(common.GetTlsCertificates())
	errs := []error{err, certErr}
	if len(common.GetTlsCertificates()) == 0 {
		errs = append(errs, field.Errorf("tls_certificates", "No TLS certificates found for server context"))
	}
	trusted, err := requestCertificates(cfg, m, d)
	errs = append(errs, err)
	ticketErr := setTickets(cfg, m)
	if err := field.Join(field.At("common_tls_context", field.Join(errs...)), ticketErr); err != nil {
		return nil, err
	}
	cfg.GetCertificate = selection{certs, m.GetFullScanCertsOnSniMismatch().GetValue()}.choose
	if m.GetRequireSni().GetValue() {
		cfg.GetConfigForClient = refuseNameless
	}
	c := &serverContext{config: cfg, certs: certs, trusted: trusted}
	if log != nil {
		c.logged = cfg.Clone() // shares the ticket keys
		c.logged.KeyLogWriter = log
	}
	return c, nil
}

// certificates implements holder.
func (c *serverContext) certificates() []Certificate {
	var out []Certificate
	for _, s := range c.certs {
		out = append(out, s.chain()...)
	}
	return append(out, c.trusted...)
}

// requestCertificates sets how clients are verified. A client's certificate is
// asked for where one is required or there is something to verify it with.
// Errors are relative to common_tls_context.
func requestCertificates(cfg *tls.Config, m *tlsv3.DownstreamTlsContext, d Deps) ([]Certificate, error) {
	context := m.GetCommonTlsContext().GetValidationContext()
	required := m.GetRequireClientCertificate().GetValue()
	v, err := newVerifier(context, x509.ExtKeyUsageClientAuth, d)
	if err != nil {
		return nil, field.At("validation_context", err)
	}
	trustsAny := v == nil // by its own word
	nothing := !trustsAny && !v.chain && len(v.pins) == 0
	switch {
	case nothing && required:
		return nil, field.WithFix(field.Errorf("validation_context", "client certificates are required but nothing says which to trust"),
			"add trusted_ca, or trust_chain_verification: ACCEPT_UNTRUSTED for any certificate")
	case nothing:
		return nil, nil
	case required:
		cfg.ClientAuth = tls.RequireAnyClientCert
	default:
		cfg.ClientAuth = tls.RequestClientCert
	}
	if trustsAny {
		return nil, nil
	}
	cfg.ClientCAs = v.roots // named to the client, to choose by
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return nil // none came, and none was required
		}
		return v.verify(cs.PeerCertificates, peerNames{})
	}
	return v.trusted, nil
}

func refuseNameless(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if hello.ServerName == "" {
		return nil, errors.New("client names no server (require_sni)")
	}
	return nil, nil
}

func (*tlsDownstream) Secure() bool { return true }

func (t *tlsDownstream) Wrap(ctx context.Context, c network.Conn, info *network.StreamInfo) (network.Conn, error) {
	remote := c.RemoteAddr()
	current := *t.current.Load()
	cfg := current.config
	if t.keyLog.wants(c) {
		cfg = current.logged
	}
	conn, err := handshake(ctx, c, func(w net.Conn) *tls.Conn { return tls.Server(w, cfg) })
	if err != nil {
		t.n.failed(ctx, err)
		return nil, fmt.Errorf("tls handshake with %s: %w", remote, err)
	}
	t.n.done(conn.state)
	info.TLS, info.ServerName, info.ALPN = conn.state, conn.state.ServerName, conn.state.NegotiatedProtocol
	return conn, nil
}
