package transport

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"

	"culvert/configs/field"
	"culvert/proxy/datasource"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	pkcs12 "software.sslmate.com/src/go-pkcs12"
)

// shown is a certificate of ours: a chain, its key, and where they came from.
type shown struct {
	tls.Certificate
	place string
}

// loadCertificates reads tls_certificates. Errors are relative to their
// context.
func loadCertificates(list []*tlsv3.TlsCertificate) ([]shown, error) {
	var out []shown
	var errs []error
	for i, m := range list {
		c, err := loadCertificate(m)
		errs = append(errs, field.At(field.Index("tls_certificates", i), err))
		out = append(out, c)
	}
	return out, field.Join(errs...)
}

// loadCertificate reads a chain and its key. No error quotes either.
func loadCertificate(m *tlsv3.TlsCertificate) (shown, error) {
	switch {
	case m.GetPkcs12() != nil && (m.GetCertificateChain() != nil || m.GetPrivateKey() != nil):
		return shown{}, field.Errorf("pkcs12", "holds chain and key: certificate_chain and private_key cannot be set beside it")
	case m.GetPkcs12() != nil:
		return loadPKCS12(m)
	case m.GetPassword() != nil:
		return shown{}, field.WithFix(field.Errorf("password", "is supported for pkcs12 only"),
			"decrypt the key (openssl pkey -in encrypted.key -out plain.key), or use pkcs12")
	}
	chain, chainPlace, chainErr := datasource.Read(m.GetCertificateChain())
	key, keyPlace, keyErr := datasource.Read(m.GetPrivateKey())
	if chainErr != nil || keyErr != nil {
		return shown{}, field.Join(field.At("certificate_chain", chainErr), field.At("private_key", keyErr))
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return shown{}, field.Errorf("", "certificate of %s with key of %s: %w", chainPlace, keyPlace, err)
	}
	return shown{cert, chainPlace}, nil
}

// loadPKCS12 reads pkcs12, protected by password or by the empty one.
func loadPKCS12(m *tlsv3.TlsCertificate) (shown, error) {
	content, place, err := datasource.Read(m.GetPkcs12())
	if err != nil {
		return shown{}, field.At("pkcs12", err)
	}
	var password []byte
	if m.GetPassword() != nil {
		if password, _, err = datasource.Read(m.GetPassword()); err != nil {
			return shown{}, field.At("password", err)
		}
	}
	key, leaf, authorities, err := pkcs12.DecodeChain(content, string(password))
	if err != nil {
		return shown{}, field.Errorf("pkcs12", "%s: %w", place, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return shown{}, field.Errorf("pkcs12", "%s: its key, of type %T, cannot sign", place, key)
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(leaf.PublicKey) {
		return shown{}, field.Errorf("pkcs12", "%s: the key is not that of the certificate", place)
	}
	cert := tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: signer, Leaf: leaf}
	for _, c := range authorities {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return shown{cert, place}, nil
}

// chain is what is shown, leaf first.
func (s shown) chain() []Certificate {
	var out []Certificate
	for _, der := range s.Certificate.Certificate {
		if c, err := x509.ParseCertificate(der); err == nil { // they were parsed when loaded
			out = append(out, Certificate{Place: s.place, Certificate: c})
		}
	}
	return out
}

// isECDSA reports a certificate with an ECDSA key, which is preferred where a
// client can take it.
func (s shown) isECDSA() bool {
	_, ok := s.Leaf.PublicKey.(*ecdsa.PublicKey)
	return ok
}

// selection is how a server chooses among its certificates.
type selection struct {
	certs []shown
	// scan: where no name fits, the first certificate the client can take is
	// shown, else the first one (full_scan_certs_on_sni_mismatch).
	scan bool
}

// choose is a tls.Config's GetCertificate: the certificates that have the name,
// an exact one before a wildcard; among these one the client can take.
func (s selection) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := best(s.named(hello.ServerName), hello); c != nil {
		return &c.Certificate, nil
	}
	if s.scan {
		if c := best(s.certs, hello); c != nil {
			return &c.Certificate, nil
		}
	}
	if len(s.certs) == 0 {
		return nil, errors.New("there is no certificate")
	}
	return &s.certs[0].Certificate, nil
}

// named are the certificates with that very name, or else with a wildcard for
// it.
func (s selection) named(name string) []shown {
	var exact, wildcard []shown
	for _, c := range s.certs {
		switch {
		case name == "" || c.Leaf.VerifyHostname(name) != nil:
		case hasName(c.Leaf, name):
			exact = append(exact, c)
		default:
			wildcard = append(wildcard, c)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return wildcard
}

// hasName reports whether name stands in the certificate as such.
func hasName(c *x509.Certificate, name string) bool {
	for _, n := range c.DNSNames {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// best is the first ECDSA certificate the client can take, else the first of
// any kind it can, else the first; nil of none.
func best(list []shown, hello *tls.ClientHelloInfo) *shown {
	nameless := *hello
	nameless.ServerName = "" // names have been looked at
	var second *shown
	for i := range list {
		c := &list[i]
		if nameless.SupportsCertificate(&c.Certificate) != nil {
			continue
		}
		if c.isECDSA() {
			return c
		}
		if second == nil {
			second = c
		}
	}
	if second == nil && len(list) > 0 {
		second = &list[0]
	}
	return second
}
