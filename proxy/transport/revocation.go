package transport

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"time"
)

// revocations are lists of certificates that no longer count (RFC 5280 §5). It
// is immutable.
type revocations struct {
	lists    []revocationList
	leafOnly bool
}

type revocationList struct {
	*x509.RevocationList
	serials map[string]bool // revoked, as text
}

// parseRevocations reads the revocation lists among the PEM blocks of content.
func parseRevocations(content []byte, place string) ([]revocationList, error) {
	var out []revocationList
	for block := range pemBlocks(content) {
		if block.Type != "X509 CRL" {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("list %d of %s: %w", len(out)+1, place, err)
		}
		l := revocationList{list, make(map[string]bool)}
		for _, e := range list.RevokedCertificateEntries {
			l.serials[e.SerialNumber.String()] = true
		}
		out = append(out, l)
	}
	return out, nil
}

// count is how many lists there are; r may be nil.
func (r *revocations) count() int {
	if r == nil {
		return 0
	}
	return len(r.lists)
}

// check judges a chain, leaf first and root last: each certificate below the
// root, or the leaf alone, must be in the care of a list and not on it.
func (r *revocations) check(chain []*x509.Certificate) error {
	for i, cert := range chain[:max(len(chain)-1, 0)] {
		if i > 0 && r.leafOnly {
			break
		}
		if err := r.checkOne(cert, chain[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (r *revocations) checkOne(cert, issuer *x509.Certificate) error {
	var stale error
	found := false
	for _, l := range r.lists {
		if !bytes.Equal(l.RawIssuer, cert.RawIssuer) || l.CheckSignatureFrom(issuer) != nil {
			continue
		}
		if l.serials[cert.SerialNumber.String()] {
			return fmt.Errorf("%s is revoked", subject(cert))
		}
		if now := time.Now(); now.Before(l.ThisUpdate) || (!l.NextUpdate.IsZero() && now.After(l.NextUpdate)) {
			stale = fmt.Errorf("the revocation list of %s is out of date", subject(issuer))
			continue
		}
		found = true
	}
	switch {
	case found:
		return nil
	case stale != nil:
		return stale
	}
	return fmt.Errorf("there is no revocation list of %s", subject(issuer))
}
