package transport_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/transport"
	"culvert/proxy/transport/selfsigned"
	"culvert/proxy/transport/transporttest"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rawv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// serverAccepts asks the server, since in TLS 1.3 a client learns of
// its refusal with the first read.
func serverAccepts(e ends) bool { return e.serverErr == nil }

func TestClientCertificates(t *testing.T) {
	ca, stranger := transporttest.Authority(t), transporttest.Authority(t)
	server := transporttest.Issue(t, ca, "gw.test")
	good := transporttest.Issue(t, ca, "spiffe://a/b")
	for _, c := range []struct {
		name   string
		change func(*tlsv3.DownstreamTlsContext, *tlsv3.CertificateValidationContext)
		shown  *selfsigned.Pair
		ok     bool
	}{
		{"required, shown", nil, good, true},
		{"required, none", nil, nil, false},
		{"required, of a stranger", nil, transporttest.Issue(t, stranger, "a.test"), false},
		{"required, for servers only", nil, issue(t, ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "a.test"), false},
		{"required, matching", uriMatcher("spiffe://a/b"), good, true},
		{"required, not matching", uriMatcher("spiffe://a/c"), good, false},
		{"optional, shown", optional, good, true},
		{"optional, none", optional, nil, true},
		{"optional, of a stranger", optional, transporttest.Issue(t, stranger, "a.test"), false},
		{"any certificate, by its word", func(m *tlsv3.DownstreamTlsContext, v *tlsv3.CertificateValidationContext) {
			v.TrustChainVerification = tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED
		}, transporttest.Issue(t, stranger, "a.test"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := transporttest.MutualServer(server, ca)
			if c.change != nil {
				v := transporttest.Trust(ca)
				transporttest.Validate(m.CommonTlsContext, v)
				c.change(m, v)
			}
			client := transporttest.Client(ca, "gw.test")
			if c.shown != nil {
				client.CommonTlsContext.TlsCertificates = []*tlsv3.TlsCertificate{transporttest.Certificate(c.shown)}
			}
			e := connect(t, upstream(t, client), downstream(t, m), transport.Options{})
			if serverAccepts(e) != c.ok {
				t.Errorf("client: %v, server: %v", e.clientErr, e.serverErr)
			}
			if shown := e.info.TLS != nil && len(e.info.TLS.PeerCertificates) > 0; c.ok && shown != (c.shown != nil) {
				t.Errorf("info has a peer certificate: %v", shown)
			}
		})
	}
}

func optional(m *tlsv3.DownstreamTlsContext, _ *tlsv3.CertificateValidationContext) {
	m.RequireClientCertificate = nil
}

func uriMatcher(uri string) func(*tlsv3.DownstreamTlsContext, *tlsv3.CertificateValidationContext) {
	return func(_ *tlsv3.DownstreamTlsContext, v *tlsv3.CertificateValidationContext) {
		v.MatchTypedSubjectAltNames = []*tlsv3.SubjectAltNameMatcher{{SanType: tlsv3.SubjectAltNameMatcher_URI, Matcher: exact(uri)}}
	}
}

func TestCertificateBySNI(t *testing.T) {
	ca := transporttest.Authority(t)
	m := transporttest.Server(transporttest.Issue(t, ca, "first.test"))
	for _, name := range []string{"second.test", "*.wild.test"} {
		m.CommonTlsContext.TlsCertificates = append(m.CommonTlsContext.TlsCertificates, transporttest.Certificate(transporttest.Issue(t, ca, name)))
	}
	d := downstream(t, m)
	for sni, want := range map[string]string{
		"first.test": "first.test", "second.test": "second.test", "a.wild.test": "*.wild.test", "none.test": "first.test", "": "first.test",
	} {
		client := transporttest.Client(ca, "")
		v := transporttest.Trust(ca)
		v.TrustChainVerification = tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED
		transporttest.Validate(client.CommonTlsContext, v)
		e := connect(t, upstream(t, client), d, transport.Options{ServerName: sni}).must(t)
		if got := transport.ConnTLS(e.client).PeerCertificates[0].DNSNames; !slices.Equal(got, []string{want}) {
			t.Errorf("SNI %q: %v", sni, got)
		}
	}
}

func TestALPN(t *testing.T) {
	ca := transporttest.Authority(t)
	pair := transporttest.Issue(t, ca, "gw.test")
	for _, c := range []struct {
		server, client, option []string
		want                   string
		ok                     bool
	}{
		{[]string{"h2", "http/1.1"}, []string{"h2"}, []string{"http/1.1"}, "h2", true},
		{[]string{"h2", "http/1.1"}, nil, []string{"http/1.1"}, "http/1.1", true},
		{[]string{"h2"}, nil, nil, "", true},
		{nil, []string{"h2"}, nil, "", true},
		{[]string{"h2"}, []string{"h3"}, nil, "", false},
	} {
		e := connect(t, upstream(t, transporttest.Client(ca, "gw.test", c.client...)),
			downstream(t, transporttest.Server(pair, c.server...)), transport.Options{ALPN: c.option})
		if (e.clientErr == nil) != c.ok {
			t.Errorf("%+v: %v", c, e.clientErr)
		}
		if c.ok && (transport.ConnTLS(e.client).NegotiatedProtocol != c.want || e.info.ALPN != c.want) {
			t.Errorf("%+v: %q, %q", c, transport.ConnTLS(e.client).NegotiatedProtocol, e.info.ALPN)
		}
	}
}

func TestParameters(t *testing.T) {
	ca := transporttest.Authority(t)
	pair := transporttest.Issue(t, ca, "gw.test")
	const v10, v12, v13 = tlsv3.TlsParameters_TLSv1_0, tlsv3.TlsParameters_TLSv1_2, tlsv3.TlsParameters_TLSv1_3
	for _, c := range []struct {
		name           string
		client, server *tlsv3.TlsParameters
		ok             bool
		check          func(*tls.ConnectionState) bool
	}{
		{"default is 1.3", nil, nil, true, func(s *tls.ConnectionState) bool { return s.Version == tls.VersionTLS13 }},
		{"nothing below 1.2 unasked", &tlsv3.TlsParameters{TlsMinimumProtocolVersion: v10, TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_1}, nil, false, nil},
		{"server wants 1.3", &tlsv3.TlsParameters{TlsMaximumProtocolVersion: v12}, &tlsv3.TlsParameters{TlsMinimumProtocolVersion: v13}, false, nil},
		{"suites in groups", &tlsv3.TlsParameters{TlsMaximumProtocolVersion: v12, CipherSuites: []string{"[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]"}}, nil, true,
			func(s *tls.ConnectionState) bool {
				return s.CipherSuite == tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
			}},
		{"no suite in common", &tlsv3.TlsParameters{TlsMaximumProtocolVersion: v12, CipherSuites: []string{"ECDHE-ECDSA-AES128-GCM-SHA256"}}, &tlsv3.TlsParameters{CipherSuites: []string{"ECDHE-ECDSA-AES256-GCM-SHA384"}}, false, nil},
		{"curve", &tlsv3.TlsParameters{EcdhCurves: []string{"P-384"}}, nil, true, func(s *tls.ConnectionState) bool { return s.CurveID == tls.CurveP384 }},
		{"no curve in common", &tlsv3.TlsParameters{EcdhCurves: []string{"P-384"}}, &tlsv3.TlsParameters{EcdhCurves: []string{"P-521"}}, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := transporttest.Client(ca, "gw.test"), transporttest.Server(pair)
			client.CommonTlsContext.TlsParams, server.CommonTlsContext.TlsParams = c.client, c.server
			e := connect(t, upstream(t, client), downstream(t, server), transport.Options{})
			if (e.clientErr == nil) != c.ok {
				t.Fatalf("%v", e.clientErr)
			}
			if c.check != nil && !c.check(transport.ConnTLS(e.client)) {
				t.Errorf("%+v", transport.ConnTLS(e.client))
			}
		})
	}
}

func TestRequireSNI(t *testing.T) {
	ca := transporttest.Authority(t)
	m := transporttest.Server(transporttest.Issue(t, ca, "gw.test"))
	m.RequireSni = wrapperspb.Bool(true)
	d := downstream(t, m)
	connect(t, upstream(t, transporttest.Client(ca, "gw.test")), d, transport.Options{}).must(t)
	if e := connect(t, upstream(t, transporttest.Client(ca, "")), d, transport.Options{}); e.serverErr == nil || !strings.Contains(e.serverErr.Error(), "require_sni") {
		t.Errorf("%v", e.serverErr)
	}
}

func TestNoResumption(t *testing.T) {
	ca := transporttest.Authority(t)
	m := transporttest.Server(transporttest.Issue(t, ca, "gw.test"))
	m.SessionTicketKeysType = &tlsv3.DownstreamTlsContext_DisableStatelessSessionResumption{DisableStatelessSessionResumption: true}
	client := transporttest.Client(ca, "gw.test")
	client.MaxSessionKeys = wrapperspb.UInt32(0)
	for _, u := range []transport.Upstream{upstream(t, transporttest.Client(ca, "gw.test")), upstream(t, client)} {
		d := downstream(t, m)
		for range 2 {
			e := connect(t, u, d, transport.Options{}).must(t)
			_, _ = e.server.Write([]byte("x"))
			_, _ = e.client.Read(make([]byte, 1))
			if transport.ConnTLS(e.client).DidResume {
				t.Error("resumed")
			}
		}
	}
}

func TestFiles(t *testing.T) {
	ca := transporttest.Authority(t)
	pair := transporttest.Issue(t, ca, "gw.test")
	dir := t.TempDir()
	file := func(name string, content []byte) *corev3.DataSource {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
	}
	server := transporttest.Server(pair)
	server.CommonTlsContext.TlsCertificates[0] = &tlsv3.TlsCertificate{CertificateChain: file("c.pem", pair.Certificate), PrivateKey: file("k.pem", pair.Key)}
	client := transporttest.Client(ca, "gw.test")
	transporttest.Validate(client.CommonTlsContext, &tlsv3.CertificateValidationContext{
		TrustedCa: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: "# ours\n" + string(ca.PEM()) + "\n"}},
	})
	connect(t, upstream(t, client), downstream(t, server), transport.Options{}).must(t)
}

func TestConfigErrors(t *testing.T) {
	ca := transporttest.Authority(t)
	pair, other := transporttest.Issue(t, ca, "gw.test"), transporttest.Issue(t, ca, "gw.test")
	const common = "typed_config.common_tls_context."
	up := func(change func(*tlsv3.UpstreamTlsContext, *tlsv3.CertificateValidationContext)) error {
		m := transporttest.Client(ca, "gw.test")
		v := transporttest.Trust(ca)
		transporttest.Validate(m.CommonTlsContext, v)
		change(m, v)
		_, err := transport.NewUpstream(transporttest.Socket(t, m), transport.Deps{})
		return err
	}
	down := func(change func(*tlsv3.DownstreamTlsContext)) error {
		m := transporttest.Server(pair)
		change(m)
		_, err := transport.NewDownstream(transporttest.Socket(t, m), transport.Deps{})
		return err
	}
	for _, c := range []struct {
		name string
		err  error
		want []string // beginnings of the errors
	}{
		{"no typed_config", func() error {
			_, err := transport.NewUpstream(&corev3.TransportSocket{Name: "x"}, transport.Deps{})
			return err
		}(), []string{"typed_config: Didn't find a registered implementation for 'x' with type URL: ''"}},
		{"the other side's", func() error {
			_, err := transport.NewDownstream(transporttest.Socket(t, transporttest.Client(ca, "")), transport.Deps{})
			return err
		}(), []string{"typed_config: Didn't find a registered implementation for 'envoy.transport_sockets.tls'"}},
		{"server without certificates", down(func(m *tlsv3.DownstreamTlsContext) { m.CommonTlsContext = nil }),
			[]string{common + "tls_certificates: No TLS certificates found for server context"}},
		{"required of nobody", down(func(m *tlsv3.DownstreamTlsContext) { m.RequireClientCertificate = wrapperspb.Bool(true) }),
			[]string{common + "validation_context: client certificates are required but nothing says which to trust (add trusted_ca"}},
		{"key of another", down(func(m *tlsv3.DownstreamTlsContext) {
			m.CommonTlsContext.TlsCertificates[0].PrivateKey = transporttest.Inline(other.Key)
		}), []string{common + "tls_certificates[0]: certificate of inline_bytes with key of inline_bytes: tls: private key does not match"}},
		{"no key, no file", down(func(m *tlsv3.DownstreamTlsContext) {
			m.CommonTlsContext.TlsCertificates[0] = &tlsv3.TlsCertificate{CertificateChain: &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: "/nonexistent/c"}}}
		}), []string{common + "tls_certificates[0].certificate_chain.filename: ", common + "tls_certificates[0].private_key: names no source"}},
		{"parameters", up(func(m *tlsv3.UpstreamTlsContext, _ *tlsv3.CertificateValidationContext) {
			m.CommonTlsContext.TlsParams = &tlsv3.TlsParameters{CipherSuites: []string{"[AES128-SHA|KITE]"}, EcdhCurves: []string{"P-256", "P-1"}}
		}), []string{common + "tls_params.cipher_suites[0]: ", common + "tls_params.cipher_suites[0]: \"KITE\"", common + "tls_params.ecdh_curves[1]: \"P-1\""}},
		{"versions", up(func(m *tlsv3.UpstreamTlsContext, _ *tlsv3.CertificateValidationContext) {
			m.CommonTlsContext.TlsParams = &tlsv3.TlsParameters{TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_1}
		}), []string{common + "tls_params.tls_maximum_protocol_version: is below the minimum, TLSv1.2"}},
		{"two client certificates", up(func(m *tlsv3.UpstreamTlsContext, _ *tlsv3.CertificateValidationContext) {
			m.CommonTlsContext.TlsCertificates = []*tlsv3.TlsCertificate{transporttest.Certificate(pair), transporttest.Certificate(other)}
		}), []string{common + "tls_certificates: 2 certificates"}},
		{"empty trust", up(func(_ *tlsv3.UpstreamTlsContext, v *tlsv3.CertificateValidationContext) {
			v.TrustedCa = transporttest.Inline([]byte("hello"))
		}), []string{common + "validation_context.trusted_ca: no PEM certificate in inline_bytes"}},
		{"broken trust", up(func(_ *tlsv3.UpstreamTlsContext, v *tlsv3.CertificateValidationContext) {
			v.TrustedCa = transporttest.Inline([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
		}), []string{common + "validation_context.trusted_ca: certificate 1 of inline_bytes: "}},
		{"two trusts", up(func(_ *tlsv3.UpstreamTlsContext, v *tlsv3.CertificateValidationContext) {
			v.SystemRootCerts = &tlsv3.CertificateValidationContext_SystemRootCerts{}
		}), []string{common + "validation_context.system_root_certs: "}},
		{"names without trust", up(func(_ *tlsv3.UpstreamTlsContext, v *tlsv3.CertificateValidationContext) {
			v.TrustedCa = nil
			v.MatchTypedSubjectAltNames = []*tlsv3.SubjectAltNameMatcher{{SanType: tlsv3.SubjectAltNameMatcher_DNS, Matcher: exact("x")}}
		}), []string{common + "validation_context.match_typed_subject_alt_names: SAN-based verification of peer certificates without trusted CA is insecure and not allowed"}},
		{"names of other kinds", up(func(_ *tlsv3.UpstreamTlsContext, v *tlsv3.CertificateValidationContext) {
			v.MatchTypedSubjectAltNames = []*tlsv3.SubjectAltNameMatcher{
				{SanType: tlsv3.SubjectAltNameMatcher_OTHER_NAME, Matcher: exact("x")}, {SanType: tlsv3.SubjectAltNameMatcher_URI},
			}
		}), []string{common + "validation_context.match_typed_subject_alt_names[0].san_type: ", common + "validation_context.match_typed_subject_alt_names[1].matcher: "}},
		{"pins", up(func(_ *tlsv3.UpstreamTlsContext, v *tlsv3.CertificateValidationContext) {
			v.VerifyCertificateSpki, v.VerifyCertificateHash = []string{"AAAA"}, []string{"zz"}
		}), []string{common + "validation_context.verify_certificate_spki[0]: has 3 bytes", common + "validation_context.verify_certificate_hash[0]: "}},
		{"revocation list", up(func(_ *tlsv3.UpstreamTlsContext, v *tlsv3.CertificateValidationContext) {
			v.Crl = transporttest.Inline(ca.PEM())
		}), []string{common + "validation_context.crl: no PEM revocation list"}},
	} {
		all := field.All(c.err)
		if len(all) != len(c.want) {
			t.Errorf("%s: %d errors: %v", c.name, len(all), c.err)
			continue
		}
		for i, e := range all {
			if !strings.HasPrefix(e.Error(), c.want[i]) {
				t.Errorf("%s: %v\nwant %s", c.name, e, c.want[i])
			}
		}
	}
}

// No error quotes a key.
func TestErrorsKeepSecrets(t *testing.T) {
	ca := transporttest.Authority(t)
	pair := transporttest.Issue(t, ca, "gw.test")
	secret := "c2VjcmV0IGtleSBvZiBvdXJz"
	for _, key := range []string{secret, "-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----\n"} {
		m := transporttest.Server(pair)
		m.CommonTlsContext.TlsCertificates[0].PrivateKey = transporttest.Inline([]byte(key))
		_, err := transport.NewDownstream(transporttest.Socket(t, m), transport.Deps{})
		if err == nil || strings.Contains(err.Error(), secret[:8]) {
			t.Errorf("%v", err)
		}
	}
}

func TestSecure(t *testing.T) {
	ca := transporttest.Authority(t)
	if !upstream(t, transporttest.Client(ca, "")).Secure() || !downstream(t, transporttest.Server(transporttest.Issue(t, ca, "a.test"))).Secure() {
		t.Error("TLS is not secure")
	}
	u, err := transport.NewUpstream(transporttest.Socket(t, &rawv3.RawBuffer{}), transport.Deps{})
	if err != nil || u.Secure() {
		t.Errorf("raw_buffer: %v", err)
	}
}

// Every name that is declared is a field of its message.
func TestHonouredFieldsExist(t *testing.T) {
	for msg, fields := range transport.Honoured() {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(msg))
		if err != nil {
			t.Errorf("%s: %v", msg, err)
			continue
		}
		for _, f := range strings.Fields(fields) {
			if d.(protoreflect.MessageDescriptor).Fields().ByName(protoreflect.Name(f)) == nil {
				t.Errorf("%s has no field %s", msg, f)
			}
		}
	}
}

// A peer that refuses our certificate, as its alert, is a reset by the peer.
func TestRefusalIsAReset(t *testing.T) {
	ca := transporttest.Authority(t)
	client := transporttest.Client(ca, "gw.test")
	e := connect(t, upstream(t, client), downstream(t, transporttest.MutualServer(transporttest.Issue(t, ca, "gw.test"), ca)), transport.Options{})
	if e.clientErr != nil { // TLS 1.3: the client is done before the server has judged it
		t.Fatal(e.clientErr)
	}
	_, err := e.client.Read(make([]byte, 1))
	var reset *network.ResetError
	if !errors.As(err, &reset) && !network.IsReset(err) {
		t.Errorf("%v", err)
	}
}
