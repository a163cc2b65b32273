package format

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // a fingerprint's name for a person, not a proof
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"time"

	"culvert/proxy/openssl"
)

// session finds the TLS state of one side; nil without TLS.
type session func(c *Context) *tls.ConnectionState

func downstreamTLS(c *Context) *tls.ConnectionState { return c.Info.TLS }

func upstreamTLS(c *Context) *tls.ConnectionState {
	if u := c.Info.Upstream(); u != nil {
		return u.TLS
	}
	return nil
}

func tlsOperators() map[string]definition {
	out := make(map[string]definition)
	addTLSOperators(out, "DOWNSTREAM_", downstreamTLS)
	addTLSOperators(out, "UPSTREAM_", upstreamTLS)
	return out
}

func addTLSOperators(out map[string]definition, side string, of session) {
	state := func(get func(s *tls.ConnectionState) string) definition {
		return text(func(c *Context) string {
			if s := of(c); s != nil {
				return get(s)
			}
			return ""
		})
	}
	peer := func(get func(cert *x509.Certificate) string) definition {
		return text(func(c *Context) string {
			if cert := peerOf(of, c); cert != nil {
				return get(cert)
			}
			return ""
		})
	}
	date := func(get func(cert *x509.Certificate) time.Time) definition {
		return timeOperator(func(c *Context) (time.Time, bool) {
			cert := peerOf(of, c)
			if cert == nil {
				return time.Time{}, false
			}
			return get(cert), true
		}, time.UTC, defaultTime)
	}
	for name, d := range map[string]definition{
		"TLS_VERSION": state(func(s *tls.ConnectionState) string { return openssl.VersionName(s.Version) }),
		"TLS_CIPHER":  state(func(s *tls.ConnectionState) string { return openssl.CipherName(s.CipherSuite) }),
		// RFC 4514 strings, the most specific part first, as Envoy's.
		"PEER_SUBJECT": peer(func(cert *x509.Certificate) string { return cert.Subject.String() }),
		"PEER_ISSUER":  peer(func(cert *x509.Certificate) string { return cert.Issuer.String() }),
		"PEER_SERIAL":  peer(func(cert *x509.Certificate) string { return fmt.Sprintf("%x", cert.SerialNumber) }),
		"PEER_FINGERPRINT_256": peer(func(cert *x509.Certificate) string {
			sum := sha256.Sum256(cert.Raw)
			return hex.EncodeToString(sum[:])
		}),
		"PEER_FINGERPRINT_1": peer(func(cert *x509.Certificate) string {
			sum := sha1.Sum(cert.Raw) //nolint:gosec // see the import
			return hex.EncodeToString(sum[:])
		}),
		"PEER_DNS_SAN":      peer(func(cert *x509.Certificate) string { return strings.Join(cert.DNSNames, ",") }),
		"PEER_EMAIL_SAN":    peer(func(cert *x509.Certificate) string { return strings.Join(cert.EmailAddresses, ",") }),
		"PEER_URI_SAN":      peer(uriNames),
		"PEER_IP_SAN":       peer(ipNames),
		"PEER_CERT":         peer(pemEscaped),
		"PEER_CERT_V_START": date(func(cert *x509.Certificate) time.Time { return cert.NotBefore }),
		"PEER_CERT_V_END":   date(func(cert *x509.Certificate) time.Time { return cert.NotAfter }),
	} {
		out[side+name] = d
	}
}

// peerOf is the certificate the peer of that side showed; nil if none.
func peerOf(of session, c *Context) *x509.Certificate {
	if s := of(c); s != nil && len(s.PeerCertificates) > 0 {
		return s.PeerCertificates[0]
	}
	return nil
}

func uriNames(cert *x509.Certificate) string {
	var out []string
	for _, u := range cert.URIs {
		out = append(out, u.String())
	}
	return strings.Join(out, ",")
}

func ipNames(cert *x509.Certificate) string {
	var out []string
	for _, ip := range cert.IPAddresses {
		out = append(out, ip.String())
	}
	return strings.Join(out, ",")
}

// pemEscaped is the certificate as PEM, URL-encoded as Envoy does.
func pemEscaped(cert *x509.Certificate) string {
	var b bytes.Buffer
	if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}); err != nil {
		return ""
	}
	return strings.ReplaceAll(url.QueryEscape(b.String()), "+", "%20")
}
