package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"culvert/configs/field"
	"culvert/proxy/network"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// defaultSessionKeys is how many sessions are kept to be resumed, as Envoy's
// max_session_keys.
const defaultSessionKeys = 1

// tlsUpstream is the client's side of TLS.
type tlsUpstream struct {
	config   *tls.Config // cloned for each connection
	verifier *verifier   // nil: any certificate
	sni      string
	hostSNI  bool // the endpoint's name is the SNI
}

func newTLSUpstream(m *tlsv3.UpstreamTlsContext, d Deps) (*tlsUpstream, error) {
	common := m.GetCommonTlsContext()
	cfg, err := newConfig(common)
	errs := []error{err}
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
	if len(cfg.Certificates) > 0 {
		// Shown whenever it is asked for, whatever authorities the server lists.
		cert := &cfg.Certificates[0]
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return &tlsUpstream{config: cfg, verifier: v, sni: m.GetSni(), hostSNI: m.GetAutoHostSni()}, nil
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
	conn, err := handshake(ctx, c, func(w net.Conn) *tls.Conn { return tls.Client(w, u.configFor(o, network.AddressOf(remote))) })
	if err == nil {
		return conn, nil
	}
	err = fmt.Errorf("tls handshake with %s: %w", remote, err)
	reason := network.ReasonGateway
	if errors.Is(ctx.Err(), context.Canceled) {
		reason = network.ReasonCanceled // whoever asked went away: says nothing of the peer
	}
	return nil, network.WithReason(reason, err)
}

// configFor is the configuration of one connection.
func (u *tlsUpstream) configFor(o Options, remote network.Address) *tls.Config {
	cfg := u.config.Clone()
	cfg.ServerName = u.serverName(o)
	if len(cfg.NextProtos) == 0 {
		cfg.NextProtos = o.ALPN
	}
	if u.verifier == nil {
		return cfg
	}
	names := peerNames{sni: cfg.ServerName, host: strings.TrimSuffix(o.HostName, ".")}
	if names.host == "" && remote.Kind != network.AddressPipe && remote.Kind != network.AddressInternal {
		names.host = remote.Host()
	}
	cfg.VerifyConnection = func(cs tls.ConnectionState) error { return u.verifier.verify(cs.PeerCertificates, names) }
	return cfg
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
