// Package selfsigned makes certificate authorities and certificates of one's
// own, for a demonstration, a laboratory or a test: nobody else trusts them.
package selfsigned

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"time"
)

// Lifetimes of what is made. Certificates begin a while ago, for the sake of
// clocks that are not quite right.
const (
	authorityLife = 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
	backdate      = time.Hour
)

// Authority is a certificate authority: a certificate and its key.
type Authority struct {
	Certificate *x509.Certificate
	key         crypto.Signer
}

// NewAuthority makes an authority with a fresh key.
func NewAuthority(name string) (*Authority, error) {
	return newAuthority(nil, authorityTemplate(name))
}

func authorityTemplate(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(authorityLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true,
	}
}

// Intermediate makes an authority below a.
func (a *Authority) Intermediate(name string) (*Authority, error) {
	return a.IntermediateWith(name, nil)
}

// IntermediateWith is Intermediate, with the template changed before it is
// signed.
func (a *Authority) IntermediateWith(name string, change func(*x509.Certificate)) (*Authority, error) {
	t := authorityTemplate(name)
	if change != nil {
		change(t)
	}
	return newAuthority(a, t)
}

// newAuthority signs template with parent's key, or its own.
func newAuthority(parent *Authority, template *x509.Certificate) (*Authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	signer := &Authority{Certificate: template, key: key}
	if parent != nil {
		signer = parent
	}
	der, err := sign(template, signer, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Authority{Certificate: cert, key: key}, err
}

// PEM is the authority's certificate, for a trusted_ca.
func (a *Authority) PEM() []byte { return certificatePEM(a.Certificate.Raw) }

// Pair is a certificate and its key in PEM, ready for a file or inline_string.
// Certificate holds the chain up to, and without, the root.
type Pair struct{ Certificate, Key []byte }

// Issue makes a certificate for a server and a client alike. A name is an IP
// address, a URI (with "://"), or a DNS name, which may be a wildcard; the
// first one is also the subject.
func (a *Authority) Issue(names ...string) (*Pair, error) {
	return a.IssueWith(nil, names...)
}

// IssueWith is Issue, with the template changed before it is signed.
func (a *Authority) IssueWith(change func(*x509.Certificate), names ...string) (*Pair, error) {
	now := time.Now()
	t := &x509.Certificate{
		NotBefore: now.Add(-backdate), NotAfter: now.Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if len(names) > 0 {
		t.Subject = pkix.Name{CommonName: names[0]}
	}
	for _, name := range names {
		if err := addName(t, name); err != nil {
			return nil, err
		}
	}
	if change != nil {
		change(t)
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	der, err := sign(t, a, key)
	if err != nil {
		return nil, err
	}
	return a.pair(der, key)
}

func addName(t *x509.Certificate, name string) error {
	switch ip := net.ParseIP(name); {
	case ip != nil:
		t.IPAddresses = append(t.IPAddresses, ip)
	case strings.Contains(name, "://"):
		u, err := url.Parse(name)
		if err != nil {
			return fmt.Errorf("certificate name: %w", err)
		}
		t.URIs = append(t.URIs, u)
	default:
		t.DNSNames = append(t.DNSNames, name)
	}
	return nil
}

// pair joins a leaf with the authority's own certificate where that is not a
// root.
func (a *Authority) pair(der []byte, key crypto.Signer) (*Pair, error) {
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	chain := certificatePEM(der)
	if string(a.Certificate.RawIssuer) != string(a.Certificate.RawSubject) {
		chain = append(chain, a.PEM()...)
	}
	return &Pair{chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})}, nil
}

// Revoke makes a revocation list in PEM that names the certificates with these
// serial numbers.
func (a *Authority) Revoke(serials ...*big.Int) ([]byte, error) {
	now := time.Now()
	list := &x509.RevocationList{
		Number:     big.NewInt(1),
		ThisUpdate: now.Add(-backdate), NextUpdate: now.Add(leafLife),
	}
	for _, s := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: s, RevocationTime: now.Add(-backdate)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.Certificate, a.key)
	if err != nil {
		return nil, fmt.Errorf("make revocation list: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), nil
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func sign(t *x509.Certificate, by *Authority, key crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	t.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, t, by.Certificate, key.Public(), by.key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	return der, nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
