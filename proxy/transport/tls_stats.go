package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"

	"culvert/proxy/openssl"
	"culvert/proxy/stats"
)

// failure says what a certificate was not accepted for; it is the name of the
// counter.
type failure string

// The failures that are counted apart.
const (
	failNoCertificate failure = "fail_verify_no_cert"
	failChain         failure = "fail_verify_error"
	failName          failure = "fail_verify_san"
	failPin           failure = "fail_verify_cert_hash"
)

// verifyError is a peer's certificate that is not accepted.
type verifyError struct {
	failure failure
	err     error
}

func (e *verifyError) Error() string { return e.err.Error() }
func (e *verifyError) Unwrap() error { return e.err }

// tlsCounters are Envoy's ssl.*.
type tlsCounters struct {
	scope                                *stats.Scope
	handshake, connectionError           *stats.Counter
	sessionReused, noCertificate         *stats.Counter
	failNoCert, failError, failSAN, hash *stats.Counter
}

func newTLSCounters(within *stats.Scope) *tlsCounters {
	s := within.Scope("ssl.")
	return &tlsCounters{
		scope:     s,
		handshake: s.Counter("handshake"), connectionError: s.Counter("connection_error"),
		sessionReused: s.Counter("session_reused"), noCertificate: s.Counter("no_certificate"),
		failNoCert: s.Counter(string(failNoCertificate)), failError: s.Counter(string(failChain)),
		failSAN: s.Counter(string(failName)), hash: s.Counter(string(failPin)),
	}
}

// done counts a handshake that succeeded.
func (n *tlsCounters) done(cs *tls.ConnectionState) {
	n.handshake.Inc()
	if cs.DidResume {
		n.sessionReused.Inc()
	}
	if len(cs.PeerCertificates) == 0 {
		n.noCertificate.Inc()
	}
	n.scope.Counter("versions." + openssl.VersionName(cs.Version)).Inc()
	n.scope.Counter("ciphers." + openssl.CipherName(cs.CipherSuite)).Inc()
	if curve := openssl.CurveName(cs.CurveID); curve != "" {
		n.scope.Counter("curves." + curve).Inc()
	}
}

// failed counts a handshake that did not. Whoever ended it for reasons of their
// own is no error of the connection.
func (n *tlsCounters) failed(ctx context.Context, err error) {
	var v *verifyError
	switch {
	case errors.As(err, &v):
		n.scope.Counter(string(v.failure)).Inc()
	case isNoCertificate(err):
		n.failNoCert.Inc()
	case ctx.Err() == nil:
		n.connectionError.Inc()
	}
}

// isNoCertificate reports that a client showed none where one is required.
// crypto/tls has no type for it, and its own check is the one that sends the
// alert certificate_required (RFC 8446 §6.2).
func isNoCertificate(err error) bool {
	return strings.HasSuffix(err.Error(), "client didn't provide a certificate")
}
