package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"culvert/configs/field"
	"culvert/proxy/network"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// tlsDownstream is the server's side of TLS.
type tlsDownstream struct{ config *tls.Config }

func newTLSDownstream(m *tlsv3.DownstreamTlsContext, d Deps) (*tlsDownstream, error) {
	common := m.GetCommonTlsContext()
	cfg, err := newConfig(common)
	errs := []error{err}
	if len(common.GetTlsCertificates()) == 0 {
		errs = append(errs, field.Errorf("tls_certificates", "No TLS certificates found for server context"))
	}
	errs = append(errs, requestCertificates(cfg, m, d))
	if err := field.Join(errs...); err != nil {
		return nil, field.At("common_tls_context", err)
	}
	cfg.SessionTicketsDisabled = m.GetDisableStatelessSessionResumption()
	if m.GetRequireSni().GetValue() {
		cfg.GetConfigForClient = refuseNameless
	}
	return &tlsDownstream{cfg}, nil
}

// requestCertificates sets how clients are verified. A client's certificate is
// asked for where one is required or there is something to verify it with.
// Errors are relative to common_tls_context.
func requestCertificates(cfg *tls.Config, m *tlsv3.DownstreamTlsContext, d Deps) error {
	context := m.GetCommonTlsContext().GetValidationContext()
	required := m.GetRequireClientCertificate().GetValue()
	v, err := newVerifier(context, x509.ExtKeyUsageClientAuth, d)
	if err != nil {
		return field.At("validation_context", err)
	}
	trustsAny := v == nil // by its own word
	nothing := !trustsAny && !v.chain && len(v.pins) == 0
	switch {
	case nothing && required:
		return field.WithFix(field.Errorf("validation_context", "client certificates are required but nothing says which to trust"),
			"add trusted_ca, or trust_chain_verification: ACCEPT_UNTRUSTED for any certificate")
	case nothing:
		return nil
	case required:
		cfg.ClientAuth = tls.RequireAnyClientCert
	default:
		cfg.ClientAuth = tls.RequestClientCert
	}
	if trustsAny {
		return nil
	}
	cfg.ClientCAs = v.roots // named to the client, to choose by
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return nil // none came, and none was required
		}
		return v.verify(cs.PeerCertificates, peerNames{})
	}
	return nil
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
	conn, err := handshake(ctx, c, func(w net.Conn) *tls.Conn { return tls.Server(w, t.config) })
	if err != nil {
		return nil, fmt.Errorf("tls handshake with %s: %w", remote, err)
	}
	info.TLS, info.ServerName, info.ALPN = conn.state, conn.state.ServerName, conn.state.NegotiatedProtocol
	return conn, nil
}
