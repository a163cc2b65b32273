package transport_test

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"culvert/proxy/network"
	"culvert/proxy/transport"
	"culvert/proxy/transport/selfsigned"
	"culvert/proxy/transport/transporttest"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// issue makes a certificate that change has spoiled.
func issue(t *testing.T, ca *selfsigned.Authority, change func(*x509.Certificate), names ...string) *selfsigned.Pair {
	t.Helper()
	pair, err := ca.IssueWith(change, names...)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func leaf(t *testing.T, pair *selfsigned.Pair) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(pair.Certificate)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func withoutIntermediate(p *selfsigned.Pair) *selfsigned.Pair {
	block, _ := pem.Decode(p.Certificate)
	return &selfsigned.Pair{Certificate: pem.EncodeToMemory(block), Key: p.Key}
}

// A client that trusts one authority and asks for gw.test refuses each of
// these, and says why.
func TestBadServerCertificates(t *testing.T) {
	ca, other := transporttest.Authority(t), transporttest.Authority(t)
	inter, err := ca.Intermediate("intermediate")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	good := issue(t, ca, nil, "gw.test")
	for _, c := range []struct {
		name string
		pair *selfsigned.Pair
		want string
	}{
		{"expired", issue(t, ca, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-2*time.Hour), now.Add(-time.Hour) }, "gw.test"), "expired"},
		{"not yet valid", issue(t, ca, func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) }, "gw.test"), "not yet valid"},
		{"wrong name", issue(t, ca, nil, "other.test"), "not gw.test"},
		{"address only", issue(t, ca, nil, "127.0.0.1"), "gw.test"},
		{"wrong authority", issue(t, other, nil, "gw.test"), "unknown authority"},
		{"self-signed", selfSigned(t, "gw.test"), "unknown authority"},
		{"common name only", issue(t, ca, func(c *x509.Certificate) { c.Subject.CommonName = "gw.test" }), "gw.test"},
		{"NUL in name", issue(t, ca, nil, "gw.test\x00.evil.test"), "gw.test"},
		{"wildcard of two labels", issue(t, ca, nil, "*.test.test"), "gw.test"},
		{"wildcard for everything", issue(t, ca, nil, "*"), "gw.test"},
		{"wildcard within a label", issue(t, ca, nil, "g*.test"), "gw.test"},
		{"for clients only", issue(t, ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, "gw.test"), "incompatible key usage"},
		{"signed by a leaf", signedByLeaf(t, ca, "gw.test"), "cannot sign"},
		{"intermediate missing", withoutIntermediate(issue(t, inter, nil, "gw.test")), "unknown authority"},
		{"outside the authority's names", outsideConstraints(t, ca, "gw.test"), "not permitted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := connect(t, upstream(t, transporttest.Client(ca, "gw.test")), downstream(t, transporttest.Server(c.pair)), transport.Options{})
			if e.clientErr == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(e.clientErr.Error(), c.want) || network.ReasonFor(e.clientErr) != network.ReasonGateway {
				t.Errorf("%v: %v", network.ReasonFor(e.clientErr), e.clientErr)
			}
		})
	}
	// The test can pass only because of what each certificate lacks.
	for _, pair := range []*selfsigned.Pair{good, issue(t, inter, nil, "gw.test"), issue(t, ca, nil, "*.test")} {
		connect(t, upstream(t, transporttest.Client(ca, "gw.test")), downstream(t, transporttest.Server(pair)), transport.Options{}).must(t)
	}
}

func selfSigned(t *testing.T, name string) *selfsigned.Pair {
	t.Helper()
	ca, err := selfsigned.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	pair := issue(t, ca, nil, name)
	return pair
}

// signedByLeaf is a certificate whose issuer is itself no authority.
func signedByLeaf(t *testing.T, ca *selfsigned.Authority, name string) *selfsigned.Pair {
	t.Helper()
	inter, err := ca.IntermediateWith("no authority", func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })
	if err != nil {
		t.Fatal(err)
	}
	return issue(t, inter, nil, name)
}

// outsideConstraints is a certificate for a name its issuer may not vouch for.
func outsideConstraints(t *testing.T, ca *selfsigned.Authority, name string) *selfsigned.Pair {
	t.Helper()
	inter, err := ca.IntermediateWith("constrained", func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"elsewhere.test"}
	})
	if err != nil {
		t.Fatal(err)
	}
	return issue(t, inter, nil, name)
}

func TestRevocation(t *testing.T) {
	ca, other := transporttest.Authority(t), transporttest.Authority(t)
	inter, err := ca.Intermediate("intermediate")
	if err != nil {
		t.Fatal(err)
	}
	pair, below := issue(t, ca, nil, "gw.test"), issue(t, inter, nil, "gw.test")
	revoke := func(ca *selfsigned.Authority, serials ...*big.Int) []byte {
		list, err := ca.Revoke(serials...)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	serial := leaf(t, pair).SerialNumber
	join := func(lists ...[]byte) []byte { return []byte(strings.Join(strs(lists), "")) }
	for _, c := range []struct {
		name     string
		pair     *selfsigned.Pair
		crl      []byte
		leafOnly bool
		want     string // empty: accepted
	}{
		{"revoked", pair, revoke(ca, serial), false, "is revoked"},
		{"another is revoked", pair, revoke(ca, big.NewInt(1)), false, ""},
		{"list of another authority", pair, revoke(other, big.NewInt(1)), false, "no revocation list"},
		{"one of two lists", pair, join(revoke(other), revoke(ca, serial)), false, "is revoked"},
		{"intermediate revoked", below, join(revoke(inter), revoke(ca, inter.Certificate.SerialNumber)), false, "is revoked"},
		{"intermediate without list", below, revoke(inter), false, "no revocation list"},
		{"leaf only", below, revoke(inter), true, ""},
		{"leaf only, revoked", below, revoke(inter, leaf(t, below).SerialNumber), true, "is revoked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := transporttest.Client(ca, "gw.test")
			v := transporttest.Trust(ca)
			v.Crl, v.OnlyVerifyLeafCertCrl = transporttest.Inline(c.crl), c.leafOnly
			transporttest.Validate(m.CommonTlsContext, v)
			e := connect(t, upstream(t, m), downstream(t, transporttest.Server(c.pair)), transport.Options{})
			if (e.clientErr == nil) != (c.want == "") || (c.want != "" && !strings.Contains(e.clientErr.Error(), c.want)) {
				t.Errorf("%v, want %q", e.clientErr, c.want)
			}
		})
	}
}

func strs(b [][]byte) []string {
	var out []string
	for _, x := range b {
		out = append(out, string(x))
	}
	return out
}

// Which name a server's certificate must have.
func TestServerNames(t *testing.T) {
	ca := transporttest.Authority(t)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	dns := func(p string) *tlsv3.SubjectAltNameMatcher {
		return &tlsv3.SubjectAltNameMatcher{SanType: tlsv3.SubjectAltNameMatcher_DNS, Matcher: exact(p)}
	}
	for _, c := range []struct {
		name   string
		cert   string // its only name
		public bool   // system roots, by leaving validation_context out
		change func(*tlsv3.UpstreamTlsContext, *tlsv3.CertificateValidationContext)
		o      transport.Options
		sni    string // sent
		ok     bool
	}{
		{"own trust, no SNI: no name", "x.test", false, nil, transport.Options{HostName: "gw.test"}, "", true},
		{"own trust, SNI", "gw.test", false, sni("gw.test"), transport.Options{}, "gw.test", true},
		{"own trust, SNI in other case and with a dot", "gw.test", false, sni("GW.test."), transport.Options{}, "GW.test", true},
		{"own trust, SNI wrong", "x.test", false, sni("gw.test"), transport.Options{}, "gw.test", false},
		{"the connection's SNI wins", "c.test", false, sni("gw.test"), transport.Options{ServerName: "c.test", HostName: "h.test"}, "c.test", true},
		{"auto_host_sni", "h.test", false, func(m *tlsv3.UpstreamTlsContext, _ *tlsv3.CertificateValidationContext) {
			m.AutoHostSni, m.Sni = true, "gw.test"
		}, transport.Options{HostName: "h.test"}, "h.test", true},
		{"auto_host_sni without a name", "gw.test", false, func(m *tlsv3.UpstreamTlsContext, _ *tlsv3.CertificateValidationContext) {
			m.AutoHostSni, m.Sni = true, "gw.test"
		}, transport.Options{}, "gw.test", true},
		{"matcher instead of the SNI", "x.test", false, func(m *tlsv3.UpstreamTlsContext, v *tlsv3.CertificateValidationContext) {
			m.Sni = "gw.test"
			v.MatchTypedSubjectAltNames = []*tlsv3.SubjectAltNameMatcher{dns("y.test"), dns("x.test")}
		}, transport.Options{}, "gw.test", true},
		{"matcher that does not match", "gw.test", false, func(m *tlsv3.UpstreamTlsContext, v *tlsv3.CertificateValidationContext) {
			m.Sni = "gw.test"
			v.MatchTypedSubjectAltNames = []*tlsv3.SubjectAltNameMatcher{dns("y.test")}
		}, transport.Options{}, "gw.test", false},
		{"auto_sni_san_validation over matchers", "x.test", false, func(m *tlsv3.UpstreamTlsContext, v *tlsv3.CertificateValidationContext) {
			m.Sni, m.AutoSniSanValidation = "gw.test", true
			v.MatchTypedSubjectAltNames = []*tlsv3.SubjectAltNameMatcher{dns("x.test")}
		}, transport.Options{}, "gw.test", false},
		{"auto_sni_san_validation without SNI", "x.test", false, func(m *tlsv3.UpstreamTlsContext, _ *tlsv3.CertificateValidationContext) {
			m.AutoSniSanValidation = true
		}, transport.Options{}, "", false},
		{"system, SNI", "gw.test", true, sni("gw.test"), transport.Options{}, "gw.test", true},
		{"system, SNI wrong", "h.test", true, sni("gw.test"), transport.Options{HostName: "h.test"}, "gw.test", false},
		{"system, host name", "h.test", true, nil, transport.Options{HostName: "h.test."}, "", true},
		{"system, host name wrong", "x.test", true, nil, transport.Options{HostName: "h.test"}, "", false},
		{"system, address", "127.0.0.1", true, nil, transport.Options{}, "", true},
		{"system, address wrong", "127.0.0.2", true, nil, transport.Options{}, "", false},
		{"ACCEPT_UNTRUSTED", "x.test", true, func(m *tlsv3.UpstreamTlsContext, _ *tlsv3.CertificateValidationContext) {
			m.Sni = "gw.test"
			transporttest.Validate(m.CommonTlsContext, &tlsv3.CertificateValidationContext{
				TrustChainVerification: tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED,
			})
		}, transport.Options{}, "gw.test", true},
		{"system_root_certs", "gw.test", true, func(m *tlsv3.UpstreamTlsContext, _ *tlsv3.CertificateValidationContext) {
			m.Sni = "gw.test"
			transporttest.Validate(m.CommonTlsContext, &tlsv3.CertificateValidationContext{
				SystemRootCerts: &tlsv3.CertificateValidationContext_SystemRootCerts{},
			})
		}, transport.Options{}, "gw.test", true},
		{"empty validation_context is the system too", "x.test", true, func(m *tlsv3.UpstreamTlsContext, _ *tlsv3.CertificateValidationContext) {
			m.Sni = "gw.test"
			transporttest.Validate(m.CommonTlsContext, &tlsv3.CertificateValidationContext{})
		}, transport.Options{}, "gw.test", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &tlsv3.UpstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{}}
			v := transporttest.Trust(ca)
			if !c.public {
				transporttest.Validate(m.CommonTlsContext, v)
			}
			if c.change != nil {
				c.change(m, v)
			}
			u, err := transport.NewUpstream(transporttest.Socket(t, m), transport.Deps{SystemRoots: roots})
			if err != nil {
				t.Fatal(err)
			}
			e := connect(t, u, downstream(t, transporttest.Server(issue(t, ca, nil, c.cert))), c.o)
			if (e.clientErr == nil) != c.ok {
				t.Errorf("%v", e.clientErr)
			}
			if c.ok && e.info.ServerName != c.sni {
				t.Errorf("SNI %q", e.info.ServerName)
			}
		})
	}
}

func sni(name string) func(*tlsv3.UpstreamTlsContext, *tlsv3.CertificateValidationContext) {
	return func(m *tlsv3.UpstreamTlsContext, _ *tlsv3.CertificateValidationContext) { m.Sni = name }
}

func exact(s string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: s}}
}

// Without system roots of our own the test's authority is a stranger.
func TestSystemRootsRefuseStrangers(t *testing.T) {
	ca := transporttest.Authority(t)
	m := &tlsv3.UpstreamTlsContext{Sni: "gw.test"}
	e := connect(t, upstream(t, m), downstream(t, transporttest.Server(issue(t, ca, nil, "gw.test"))), transport.Options{})
	if e.clientErr == nil || !strings.Contains(e.clientErr.Error(), "unknown authority") {
		t.Errorf("%v", e.clientErr)
	}
}

func TestSANMatchers(t *testing.T) {
	ca := transporttest.Authority(t)
	spiffe, _ := url.Parse("spiffe://cluster/ns/a/sa/b")
	pair := issue(t, ca, func(c *x509.Certificate) {
		c.EmailAddresses = []string{"ops@gw.test"}
		c.URIs = []*url.URL{spiffe}
		c.IPAddresses = []net.IP{net.ParseIP("192.0.2.7")}
	}, "gw.test", "*.wild.test")
	const (
		dns   = tlsv3.SubjectAltNameMatcher_DNS
		uri   = tlsv3.SubjectAltNameMatcher_URI
		email = tlsv3.SubjectAltNameMatcher_EMAIL
		ip    = tlsv3.SubjectAltNameMatcher_IP_ADDRESS
	)
	regex := func(s string) *matcherv3.StringMatcher {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: s}}}
	}
	prefix := func(s string) *matcherv3.StringMatcher {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: s}}
	}
	suffix := func(s string, fold bool) *matcherv3.StringMatcher {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Suffix{Suffix: s}, IgnoreCase: fold}
	}
	contains := func(s string) *matcherv3.StringMatcher {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Contains{Contains: s}}
	}
	for _, c := range []struct {
		kind  tlsv3.SubjectAltNameMatcher_SanType
		match *matcherv3.StringMatcher
		ok    bool
	}{
		{dns, exact("gw.test"), true}, {dns, exact("GW.test"), true}, {dns, exact("a.wild.test"), true},
		{dns, exact("a.b.wild.test"), false}, {dns, exact("wild.test"), false}, {dns, exact("spiffe://cluster/ns/a/sa/b"), false},
		{dns, prefix("gw."), true}, {dns, suffix(".TEST", true), true}, {dns, suffix(".TEST", false), false}, {dns, contains("w.t"), true},
		{uri, exact("spiffe://cluster/ns/a/sa/b"), true}, {uri, prefix("spiffe://cluster/"), true}, {uri, prefix("spiffe://other/"), false},
		{uri, regex("spiffe://cluster/ns/[a-z]+/sa/b"), true}, {uri, regex("ns/a"), false}, {uri, exact("gw.test"), false},
		{email, suffix("@gw.test", false), true}, {email, exact("ops@x.test"), false},
		{ip, exact("192.0.2.7"), true}, {ip, exact("192.0.2.8"), false},
	} {
		m := transporttest.Client(ca, "")
		v := transporttest.Trust(ca)
		v.MatchTypedSubjectAltNames = []*tlsv3.SubjectAltNameMatcher{{SanType: c.kind, Matcher: c.match}}
		transporttest.Validate(m.CommonTlsContext, v)
		e := connect(t, upstream(t, m), downstream(t, transporttest.Server(pair)), transport.Options{})
		if (e.clientErr == nil) != c.ok {
			t.Errorf("%v %v: %v", c.kind, c.match, e.clientErr)
		}
	}
}

func TestPins(t *testing.T) {
	ca := transporttest.Authority(t)
	pair, other := issue(t, ca, nil, "gw.test"), issue(t, ca, nil, "gw.test")
	spki := sha256.Sum256(leaf(t, pair).RawSubjectPublicKeyInfo)
	cert := sha256.Sum256(leaf(t, pair).Raw)
	colons := strings.ToUpper(hex.EncodeToString(cert[:]))
	for i := 2; i < len(colons); i += 3 {
		colons = colons[:i] + ":" + colons[i:]
	}
	spkiPin, hashPin := base64.StdEncoding.EncodeToString(spki[:]), hex.EncodeToString(cert[:])
	for _, c := range []struct {
		name  string
		v     *tlsv3.CertificateValidationContext
		shown *selfsigned.Pair
		ok    bool
	}{
		{"key", &tlsv3.CertificateValidationContext{VerifyCertificateSpki: []string{spkiPin}}, pair, true},
		{"key of another", &tlsv3.CertificateValidationContext{VerifyCertificateSpki: []string{spkiPin}}, other, false},
		{"hash", &tlsv3.CertificateValidationContext{VerifyCertificateHash: []string{hashPin}}, pair, true},
		{"hash with colons", &tlsv3.CertificateValidationContext{VerifyCertificateHash: []string{colons}}, pair, true},
		{"hash of another", &tlsv3.CertificateValidationContext{VerifyCertificateHash: []string{hashPin}}, other, false},
		{"either", &tlsv3.CertificateValidationContext{VerifyCertificateHash: []string{strings.Repeat("0", 64)}, VerifyCertificateSpki: []string{spkiPin}}, pair, true},
		{"pinned, but of a stranger", &tlsv3.CertificateValidationContext{TrustedCa: transporttest.Inline(transporttest.Authority(t).PEM()), VerifyCertificateSpki: []string{spkiPin}}, pair, false},
	} {
		m := transporttest.Client(nil, "gw.test")
		transporttest.Validate(m.CommonTlsContext, c.v)
		e := connect(t, upstream(t, m), downstream(t, transporttest.Server(c.shown)), transport.Options{})
		if (e.clientErr == nil) != c.ok {
			t.Errorf("%s: %v", c.name, e.clientErr)
		}
	}
}

// A resumed session is verified as a new one is.
func TestResumedSessionIsVerified(t *testing.T) {
	ca := transporttest.Authority(t)
	m := transporttest.Client(ca, "gw.test")
	u := upstream(t, m)
	d := downstream(t, transporttest.Server(issue(t, ca, nil, "gw.test", "x.test")))
	for i := range 3 {
		e := connect(t, u, d, transport.Options{}).must(t)
		// The ticket comes behind the handshake, with the first bytes.
		if _, err := e.server.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := e.client.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		s := transport.ConnTLS(e.client)
		if s.DidResume != (i > 0) || len(s.PeerCertificates) == 0 {
			t.Errorf("connection %d: resumed %v, %d certificates", i, s.DidResume, len(s.PeerCertificates))
		}
	}
}

func TestSubjectIsQuoted(t *testing.T) {
	ca := transporttest.Authority(t)
	pair := issue(t, transporttest.Authority(t), func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "a\nb"} }, "gw.test")
	e := connect(t, upstream(t, transporttest.Client(ca, "gw.test")), downstream(t, transporttest.Server(pair)), transport.Options{})
	if e.clientErr == nil || strings.ContainsAny(e.clientErr.Error(), "\n\r") {
		t.Errorf("%q", e.clientErr)
	}
}
