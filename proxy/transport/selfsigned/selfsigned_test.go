package selfsigned

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
)

// What is made is accepted by crypto/tls, for each of its names, below its own
// authority only.
func TestIssue(t *testing.T) {
	ca, err := NewAuthority("demo")
	if err != nil {
		t.Fatal(err)
	}
	inter, err := ca.Intermediate("below")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.PEM()) {
		t.Fatal("no PEM")
	}
	for _, by := range []*Authority{ca, inter} {
		pair, err := by.Issue("gw.test", "192.0.2.1", "2001:db8::1", "spiffe://a/b", "*.wild.test")
		if err != nil {
			t.Fatal(err)
		}
		cert, err := tls.X509KeyPair(pair.Certificate, pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		for _, der := range cert.Certificate[1:] {
			c, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			pool.AddCert(c)
		}
		for _, name := range []string{"gw.test", "192.0.2.1", "2001:db8::1", "x.wild.test"} {
			if _, err := cert.Leaf.Verify(x509.VerifyOptions{
				DNSName: name, Roots: roots, Intermediates: pool,
				KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if len(cert.Leaf.URIs) != 1 || cert.Leaf.Subject.CommonName != "gw.test" {
			t.Errorf("%v, %v", cert.Leaf.URIs, cert.Leaf.Subject)
		}
	}
	if _, err := ca.Issue("spiffe://a b/"); err == nil {
		t.Error("a broken URI is a name")
	}
}
