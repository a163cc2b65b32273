package transport

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"culvert/configs/field"
	"culvert/proxy/datasource"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// nameRule says which name of its own a certificate must have, where no
// matchers say it.
type nameRule uint8

const (
	nameSNI         nameRule = iota // the SNI, if there is one
	nameSNIRequired                 // the SNI
	nameAlways                      // the SNI, or where there is none the host's
)

// peerNames are the names a peer goes by.
type peerNames struct{ sni, host string }

// verifier judges the certificates a peer shows. It is immutable.
type verifier struct {
	usage x509.ExtKeyUsage
	// chain: the certificate must lead to roots; nil are the system's.
	chain    bool
	roots    *x509.CertPool
	trusted  []Certificate // what is in roots; the system's are not listed
	public   bool          // roots are the system's
	maxDepth int           // certificates above the leaf, the root among them
	ageless  bool          // whether a certificate is in its time does not matter
	names    nameRule
	sans     []sanMatcher
	pins     []pin
	crls     *revocations
}

// defaultDepth is what a chain may have above its leaf, as Envoy's
// max_verify_depth.
const defaultDepth = 100

// newVerifier compiles a validation_context. Nil, and no error, means that the
// context accepts any certificate by its own word.
func newVerifier(m *tlsv3.CertificateValidationContext, usage x509.ExtKeyUsage, d Deps) (*verifier, error) {
	v := &verifier{usage: usage, maxDepth: defaultDepth, ageless: m.GetAllowExpiredCertificate()}
	if depth := m.GetMaxVerifyDepth(); depth != nil {
		v.maxDepth = int(depth.GetValue())
	}
	var errs []error
	if m.GetTrustedCa() != nil {
		errs = append(errs, field.At("trusted_ca", v.trust(m)))
	}
	if m.GetSystemRootCerts() != nil {
		if v.chain {
			errs = append(errs, field.Errorf("system_root_certs", "cannot be set beside trusted_ca"))
		}
		v.chain, v.public, v.roots = true, true, d.SystemRoots
	}
	var err error
	v.pins, err = loadPins(m)
	errs = append(errs, err)
	v.sans, err = newSANMatchers(m.GetMatchTypedSubjectAltNames())
	errs = append(errs, field.At("match_typed_subject_alt_names", err))
	if len(v.sans) > 0 && !v.chain {
		errs = append(errs, field.Errorf("match_typed_subject_alt_names",
			"SAN-based verification of peer certificates without trusted CA is insecure and not allowed"))
	}
	if m.GetCrl() != nil {
		errs = append(errs, field.At("crl", v.revoke(m)))
	}
	if err := field.Join(errs...); err != nil {
		return nil, err
	}
	if m.GetTrustChainVerification() == tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED {
		return nil, nil
	}
	return v, nil
}

// verify returns why the certificates a peer showed are not accepted, a
// *verifyError.
func (v *verifier) verify(shown []*x509.Certificate, names peerNames) error {
	if len(shown) == 0 {
		return &verifyError{failNoCertificate, errors.New("certificate: none was shown")}
	}
	leaf := shown[0]
	refuse := func(f failure, err error) error {
		return &verifyError{f, fmt.Errorf("certificate %s: %w", subject(leaf), err)}
	}
	if v.chain {
		if err := v.verifyChain(shown); err != nil {
			return refuse(failChain, err)
		}
	}
	if err := v.verifyNames(leaf, names); err != nil {
		return refuse(failName, err)
	}
	if !v.pinned(leaf) {
		return refuse(failPin, errors.New("is none of those pinned"))
	}
	return nil
}

// verifyChain finds a chain to a root that is short enough and none of which is
// revoked.
func (v *verifier) verifyChain(shown []*x509.Certificate) error {
	if v.ageless {
		shown = agelessCopies(shown)
	}
	intermediates := x509.NewCertPool()
	for _, c := range shown[1:] {
		intermediates.AddCert(c)
	}
	chains, err := shown[0].Verify(x509.VerifyOptions{
		Roots: v.roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{v.usage},
	})
	if err != nil {
		return err
	}
	for _, chain := range chains {
		if err = v.checkChain(chain); err == nil {
			return nil
		}
	}
	return err
}

// checkChain judges a chain that leads to a root, leaf first and root last.
func (v *verifier) checkChain(chain []*x509.Certificate) error {
	if depth := len(chain) - 1; depth > v.maxDepth {
		return fmt.Errorf("its chain has %d certificates above it, more than max_verify_depth %d", depth, v.maxDepth)
	}
	if v.crls == nil {
		return nil
	}
	return v.crls.check(chain)
}

// agelessCopies are copies of certificates that are valid at any time; what
// their issuers signed is not touched.
func agelessCopies(list []*x509.Certificate) []*x509.Certificate {
	out := make([]*x509.Certificate, len(list))
	for i, c := range list {
		out[i] = new(x509.Certificate)
		*out[i] = *c
		out[i].NotBefore, out[i].NotAfter = time.Unix(0, 0), time.Unix(1<<40, 0)
	}
	return out
}

func (v *verifier) verifyNames(leaf *x509.Certificate, names peerNames) error {
	if len(v.sans) > 0 {
		for _, m := range v.sans {
			if m.matches(leaf) {
				return nil
			}
		}
		return errors.New("none of its names matches match_typed_subject_alt_names")
	}
	name := names.sni
	switch {
	case name != "":
	case v.names == nameSNIRequired:
		return errors.New("there is no SNI to verify (auto_sni_san_validation)")
	case v.names == nameAlways && names.host == "":
		return errors.New("there is no name to verify: set sni, or a validation_context with trusted_ca")
	case v.names == nameAlways:
		name = names.host
	default:
		return nil
	}
	return leaf.VerifyHostname(name)
}

// pinned reports that no pins are set, or that the certificate is one of them.
func (v *verifier) pinned(leaf *x509.Certificate) bool {
	for _, p := range v.pins {
		content := leaf.Raw
		if p.spki {
			content = leaf.RawSubjectPublicKeyInfo
		}
		if sum := sha256.Sum256(content); sum == p.sum {
			return true
		}
	}
	return len(v.pins) == 0
}

// subject names a certificate in an error.
func subject(c *x509.Certificate) string { return fmt.Sprintf("%q", c.Subject.String()) }

// pin is the SHA-256 of a certificate, or of its public key.
type pin struct {
	sum  [sha256.Size]byte
	spki bool
}

func loadPins(m *tlsv3.CertificateValidationContext) (pins []pin, err error) {
	var errs []error
	add := func(path string, spki bool, sum []byte, err error) {
		if err == nil && len(sum) != sha256.Size {
			err = fmt.Errorf("has %d bytes, a SHA-256 has %d", len(sum), sha256.Size)
		}
		if err != nil {
			errs = append(errs, field.At(path, err))
			return
		}
		pins = append(pins, pin{[sha256.Size]byte(sum), spki})
	}
	for i, s := range m.GetVerifyCertificateSpki() {
		sum, err := base64.StdEncoding.DecodeString(s)
		add(field.Index("verify_certificate_spki", i), true, sum, err)
	}
	for i, s := range m.GetVerifyCertificateHash() {
		sum, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
		add(field.Index("verify_certificate_hash", i), false, sum, err)
	}
	return pins, field.Join(errs...)
}

// trust reads trusted_ca: every certificate in it must be one, and every
// revocation list counts.
func (v *verifier) trust(m *tlsv3.CertificateValidationContext) error {
	content, place, err := datasource.Read(m.GetTrustedCa())
	if err != nil {
		return err
	}
	v.chain, v.roots = true, x509.NewCertPool()
	var roots []*x509.Certificate
	for block := range pemBlocks(content) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("certificate %d of %s: %w", len(roots)+1, place, err)
		}
		roots = append(roots, cert)
		v.trusted = append(v.trusted, Certificate{Place: place, Authority: true, Certificate: cert})
	}
	if len(roots) == 0 {
		return fmt.Errorf("no PEM certificate in %s", place)
	}
	if v.ageless {
		roots = agelessCopies(roots)
	}
	for _, c := range roots {
		v.roots.AddCert(c)
	}
	return v.addRevocations(m, content, place)
}

// revoke reads crl.
func (v *verifier) revoke(m *tlsv3.CertificateValidationContext) error {
	content, place, err := datasource.Read(m.GetCrl())
	if err != nil {
		return err
	}
	before := v.crls.count()
	if err := v.addRevocations(m, content, place); err != nil {
		return err
	}
	if v.crls.count() == before {
		return fmt.Errorf("no PEM revocation list in %s", place)
	}
	return nil
}

func (v *verifier) addRevocations(m *tlsv3.CertificateValidationContext, content []byte, place string) error {
	lists, err := parseRevocations(content, place)
	if err != nil || len(lists) == 0 {
		return err
	}
	if v.crls == nil {
		v.crls = &revocations{leafOnly: m.GetOnlyVerifyLeafCertCrl()}
	}
	v.crls.lists = append(v.crls.lists, lists...)
	return nil
}

// pemBlocks goes through the PEM blocks of a file.
func pemBlocks(content []byte) func(yield func(*pem.Block) bool) {
	return func(yield func(*pem.Block) bool) {
		for rest := bytes.TrimSpace(content); len(rest) > 0; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil || !yield(block) {
				return
			}
		}
	}
}
