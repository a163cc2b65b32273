package transport_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/proxy/transport"
	"culvert/proxy/transport/selfsigned"
	"culvert/proxy/transport/transporttest"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	pkcs12 "software.sslmate.com/src/go-pkcs12"
)

// rsaPair is a certificate with an RSA key, signed by itself.
func rsaPair(t *testing.T, name string) *selfsigned.Pair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := leaf(t, transporttest.Issue(t, transporttest.Authority(t), name))
	template.SignatureAlgorithm, template.PublicKeyAlgorithm, template.PublicKey = 0, 0, nil
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &selfsigned.Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

func TestCertificateByKeyAndName(t *testing.T) {
	ca := transporttest.Authority(t)
	exactRSA, exactEC := rsaPair(t, "a.test"), transporttest.Issue(t, ca, "a.test")
	wildcard, other := transporttest.Issue(t, ca, "*.test"), transporttest.Issue(t, ca, "other.example")
	list := func(pairs ...*selfsigned.Pair) []*selfsigned.Pair { return pairs }
	for _, c := range []struct {
		name    string
		certs   []*selfsigned.Pair
		sni     string
		onlyRSA bool
		scan    bool
		want    *selfsigned.Pair
	}{
		{"an exact name before a wildcard", list(wildcard, exactEC), "a.test", false, false, exactEC},
		{"ECDSA before RSA", list(exactRSA, exactEC), "a.test", false, false, exactEC},
		{"RSA for whom takes nothing else", list(exactEC, exactRSA), "a.test", true, false, exactRSA},
		{"the first for an unknown name", list(other, exactRSA), "b.example", false, false, other},
		{"the first that can be taken for an unknown name", list(other, exactRSA), "b.example", true, true, exactRSA},
		{"the first without a name", list(exactRSA, other), "", false, false, exactRSA},
		{"the best without a name", list(exactRSA, other), "", false, true, other},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := transporttest.Server(c.certs[0])
			for _, p := range c.certs[1:] {
				m.CommonTlsContext.TlsCertificates = append(m.CommonTlsContext.TlsCertificates, transporttest.Certificate(p))
			}
			m.FullScanCertsOnSniMismatch = wrapperspb.Bool(c.scan)
			client := transporttest.Client(ca, "")
			transporttest.Validate(client.CommonTlsContext, &tlsv3.CertificateValidationContext{
				TrustChainVerification: tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED,
			})
			if c.onlyRSA {
				client.CommonTlsContext.TlsParams = &tlsv3.TlsParameters{
					TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
					CipherSuites:              []string{"ECDHE-RSA-AES128-GCM-SHA256"},
				}
			}
			e := connect(t, upstream(t, client), downstream(t, m), transport.Options{ServerName: c.sni}).must(t)
			if got := transport.ConnTLS(e.client).PeerCertificates[0]; !got.Equal(leaf(t, c.want)) {
				t.Errorf("shows %s, %s", got.PublicKeyAlgorithm, got.DNSNames)
			}
		})
	}
}

func TestMaxVerifyDepth(t *testing.T) {
	root := transporttest.Authority(t)
	middle, err := root.Intermediate("middle")
	if err != nil {
		t.Fatal(err)
	}
	server := downstream(t, transporttest.Server(transporttest.Issue(t, middle, "a.test")))
	for _, c := range []struct {
		depth *wrapperspb.UInt32Value
		ok    bool
	}{
		{nil, true}, {wrapperspb.UInt32(2), true}, {wrapperspb.UInt32(1), false}, {wrapperspb.UInt32(0), false},
	} {
		v := transporttest.Trust(root)
		v.MaxVerifyDepth = c.depth
		m := transporttest.Client(nil, "a.test")
		transporttest.Validate(m.CommonTlsContext, v)
		if e := connect(t, upstream(t, m), server, transport.Options{}); (e.clientErr == nil) != c.ok {
			t.Errorf("depth %v: %v", c.depth, e.clientErr)
		}
	}
}

func TestAllowExpiredCertificate(t *testing.T) {
	ca := transporttest.Authority(t)
	expired := issue(t, ca, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	}, "a.test")
	for _, allow := range []bool{false, true} {
		for _, c := range []struct {
			name string
			ca   *selfsigned.Authority
			sni  string
			ok   bool
		}{
			{"its only fault", ca, "a.test", allow},
			{"of a stranger", transporttest.Authority(t), "a.test", false},
			{"of another name", ca, "b.test", false},
		} {
			v := transporttest.Trust(c.ca)
			v.AllowExpiredCertificate = allow
			m := transporttest.Client(nil, c.sni)
			transporttest.Validate(m.CommonTlsContext, v)
			if e := connect(t, upstream(t, m), downstream(t, transporttest.Server(expired)), transport.Options{}); (e.clientErr == nil) != c.ok {
				t.Errorf("allowed %v, %s: %v", allow, c.name, e.clientErr)
			}
		}
	}
}

// A revocation list among the authorities counts: silence about it would be
// trust.
func TestRevocationBesideAuthority(t *testing.T) {
	ca := transporttest.Authority(t)
	good, bad := transporttest.Issue(t, ca, "a.test"), transporttest.Issue(t, ca, "a.test")
	list, err := ca.Revoke(leaf(t, bad).SerialNumber)
	if err != nil {
		t.Fatal(err)
	}
	m := transporttest.Client(nil, "a.test")
	transporttest.Validate(m.CommonTlsContext, &tlsv3.CertificateValidationContext{TrustedCa: transporttest.Inline(append(ca.PEM(), list...))})
	for _, c := range []struct {
		pair *selfsigned.Pair
		ok   bool
	}{{good, true}, {bad, false}} {
		if e := connect(t, upstream(t, m), downstream(t, transporttest.Server(c.pair)), transport.Options{}); (e.clientErr == nil) != c.ok {
			t.Errorf("revoked %v: %v", !c.ok, e.clientErr)
		}
	}
}

// resumption connects twice, to a first and a second server, and says whether
// the second connection resumed the first's session.
func resumption(t *testing.T, version tlsv3.TlsParameters_TlsProtocol, client *tlsv3.UpstreamTlsContext, first, second transport.Downstream) bool {
	t.Helper()
	client.CommonTlsContext.TlsParams = &tlsv3.TlsParameters{TlsMaximumProtocolVersion: version}
	u := upstream(t, client)
	resumed := false
	for _, d := range []transport.Downstream{first, second} {
		e := connect(t, u, d, transport.Options{}).must(t)
		if _, err := e.server.Write([]byte("x")); err != nil { // tickets come with it
			t.Fatal(err)
		}
		if _, err := e.client.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		resumed = transport.ConnTLS(e.client).DidResume
	}
	return resumed
}

func TestSessionTickets(t *testing.T) {
	ca := transporttest.Authority(t)
	pair := transporttest.Issue(t, ca, "a.test")
	key := func(b byte) *corev3.DataSource { return transporttest.Inline(bytes.Repeat([]byte{b}, 80)) }
	server := func(change func(*tlsv3.DownstreamTlsContext), keys ...*corev3.DataSource) transport.Downstream {
		m := transporttest.Server(pair)
		if len(keys) > 0 {
			m.SessionTicketKeysType = &tlsv3.DownstreamTlsContext_SessionTicketKeys{SessionTicketKeys: &tlsv3.TlsSessionTicketKeys{Keys: keys}}
		}
		if change != nil {
			change(m)
		}
		return downstream(t, m)
	}
	timeout := func(d time.Duration) func(*tlsv3.DownstreamTlsContext) {
		return func(m *tlsv3.DownstreamTlsContext) { m.SessionTimeout = durationpb.New(d) }
	}
	alone := server(nil)
	brief, long := server(timeout(999*time.Millisecond)), server(timeout(time.Hour))
	keysOff := func(m *tlsv3.UpstreamTlsContext) { m.MaxSessionKeys = wrapperspb.UInt32(0) }
	for _, c := range []struct {
		name          string
		first, second transport.Downstream
		client        func(*tlsv3.UpstreamTlsContext)
		want          bool
	}{
		{"the same server", alone, alone, nil, true},
		{"another server, keys of its own", alone, server(nil), nil, false},
		{"another server, the same keys", server(nil, key(1)), server(nil, key(1)), nil, true},
		{"another server, the key before the last", server(nil, key(1)), server(nil, key(2), key(1)), nil, true},
		{"another server, other keys", server(nil, key(1)), server(nil, key(2)), nil, false},
		{"a client that keeps none", alone, alone, keysOff, false},
		{"within session_timeout", long, long, nil, true},
		{"beyond session_timeout", brief, brief, nil, false}, // whole seconds: 0
	} {
		for name, version := range map[string]tlsv3.TlsParameters_TlsProtocol{"TLSv1.2": tlsv3.TlsParameters_TLSv1_2, "TLSv1.3": tlsv3.TlsParameters_TLSv1_3} {
			t.Run(c.name+", "+name, func(t *testing.T) {
				m := transporttest.Client(ca, "a.test")
				if c.client != nil {
					c.client(m)
				}
				if got := resumption(t, version, m, c.first, c.second); got != c.want {
					t.Errorf("resumed: %v", got)
				}
			})
		}
	}
}

func TestKeyLog(t *testing.T) {
	ca := transporttest.Authority(t)
	pair := transporttest.Issue(t, ca, "a.test")
	cidr := func(address string, bits uint32) []*corev3.CidrRange {
		return []*corev3.CidrRange{{AddressPrefix: "192.0.2.0", PrefixLen: wrapperspb.UInt32(24)}, {AddressPrefix: address, PrefixLen: wrapperspb.UInt32(bits)}}
	}
	for _, c := range []struct {
		name          string
		local, remote []*corev3.CidrRange
		want          bool
	}{
		{"any address", nil, nil, true},
		{"both ranges fit", cidr("127.0.0.0", 8), cidr("127.0.0.1", 32), true},
		{"the local range does not fit", cidr("10.0.0.0", 8), cidr("127.0.0.1", 32), false},
		{"the remote range does not fit", cidr("127.0.0.0", 8), cidr("::1", 128), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			paths := [2]string{filepath.Join(t.TempDir(), "client"), filepath.Join(t.TempDir(), "server")}
			client, server := transporttest.Client(ca, "a.test"), transporttest.Server(pair)
			client.CommonTlsContext.KeyLog = &tlsv3.TlsKeyLog{Path: paths[0], LocalAddressRange: c.local, RemoteAddressRange: c.remote}
			server.CommonTlsContext.KeyLog = &tlsv3.TlsKeyLog{Path: paths[1], LocalAddressRange: c.local, RemoteAddressRange: c.remote}
			connect(t, upstream(t, client), downstream(t, server), transport.Options{}).must(t)
			for _, path := range paths {
				got, err := os.ReadFile(path)
				switch {
				case c.want && !strings.Contains(string(got), "CLIENT_TRAFFIC_SECRET_0 "):
					t.Errorf("%s: %q, %v", filepath.Base(path), got, err)
				case !c.want && !os.IsNotExist(err):
					t.Errorf("%s: %q, %v", filepath.Base(path), got, err)
				case c.want:
					if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
						t.Errorf("%s may be read by others: %v", path, info.Mode())
					}
				}
			}
		})
	}
}

func TestPKCS12(t *testing.T) {
	root := transporttest.Authority(t)
	middle, err := root.Intermediate("middle")
	if err != nil {
		t.Fatal(err)
	}
	pair := transporttest.Issue(t, middle, "a.test")
	loaded, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	pfx, err := pkcs12.Modern.Encode(loaded.PrivateKey, loaded.Leaf, []*x509.Certificate{middle.Certificate}, "sesame")
	if err != nil {
		t.Fatal(err)
	}
	server := func(password string) *tlsv3.DownstreamTlsContext {
		return &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{TlsCertificates: []*tlsv3.TlsCertificate{{
			Pkcs12: transporttest.Inline(pfx), Password: transporttest.Inline([]byte(password)),
		}}}}
	}
	e := connect(t, upstream(t, transporttest.Client(root, "a.test")), downstream(t, server("sesame")), transport.Options{}).must(t)
	if n := len(transport.ConnTLS(e.client).PeerCertificates); n != 2 {
		t.Errorf("shows %d certificates, want leaf and intermediate", n)
	}
	_, err = transport.NewDownstream(transporttest.Socket(t, server("open")), transport.Deps{})
	if all := field.All(err); len(all) != 1 || all[0].Path != "typed_config.common_tls_context.tls_certificates[0].pkcs12" || strings.Contains(err.Error(), "open") {
		t.Errorf("wrong password: %v", err)
	}
}

// value is a counter of s, 0 if it is not there.
func value(s *stats.Store, name string) int64 {
	n, _ := s.Value(name)
	return n
}

func TestTLSCounters(t *testing.T) {
	ca, stranger := transporttest.Authority(t), transporttest.Authority(t)
	pair := transporttest.Issue(t, ca, "a.test")
	pinned := func(m *tlsv3.DownstreamTlsContext) {
		m.CommonTlsContext.GetValidationContext().VerifyCertificateHash = []string{strings.Repeat("00", 32)}
	}
	sans := func(m *tlsv3.DownstreamTlsContext) {
		m.CommonTlsContext.GetValidationContext().MatchTypedSubjectAltNames = []*tlsv3.SubjectAltNameMatcher{{SanType: tlsv3.SubjectAltNameMatcher_DNS, Matcher: exact("b.test")}}
	}
	for _, c := range []struct {
		name   string
		shown  *selfsigned.Pair
		change func(*tlsv3.DownstreamTlsContext)
		want   string
	}{
		{"accepted", pair, nil, "handshake"},
		{"none shown", nil, nil, "fail_verify_no_cert"},
		{"of a stranger", transporttest.Issue(t, stranger, "a.test"), nil, "fail_verify_error"},
		{"another name", pair, sans, "fail_verify_san"},
		{"not pinned", pair, pinned, "fail_verify_cert_hash"},
		{"not asked", nil, func(m *tlsv3.DownstreamTlsContext) {
			m.RequireClientCertificate = nil
			transporttest.Validate(m.CommonTlsContext, nil)
		}, "no_certificate"},
		{"no common version", pair, func(m *tlsv3.DownstreamTlsContext) {
			m.CommonTlsContext.TlsParams = &tlsv3.TlsParameters{TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_2}
		}, "connection_error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := stats.NewStore()
			m := transporttest.MutualServer(pair, ca)
			if c.change != nil {
				c.change(m)
			}
			d, err := transport.NewDownstream(transporttest.Socket(t, m), transport.Deps{Stats: s.Scope("listener.x.")})
			if err != nil {
				t.Fatal(err)
			}
			client := transporttest.Client(ca, "a.test")
			client.CommonTlsContext.TlsParams = &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3}
			if c.shown != nil {
				client.CommonTlsContext.TlsCertificates = []*tlsv3.TlsCertificate{transporttest.Certificate(c.shown)}
			}
			connect(t, upstream(t, client), d, transport.Options{})
			for _, name := range []string{"fail_verify_no_cert", "fail_verify_error", "fail_verify_san", "fail_verify_cert_hash", "connection_error", c.want} {
				want := int64(0)
				if name == c.want {
					want = 1
				}
				if got := value(s, "listener.x.ssl."+name); got != want {
					t.Errorf("%s is %d", name, got)
				}
			}
			if c.want == "handshake" {
				for _, name := range []string{"versions.TLSv1.3", "ciphers.TLS_AES_128_GCM_SHA256", "curves.X25519MLKEM768"} {
					if value(s, "listener.x.ssl."+name) != 1 {
						t.Errorf("%s is not counted", name)
					}
				}
			}
		})
	}
}

func TestUpstreamTLSCounters(t *testing.T) {
	ca := transporttest.Authority(t)
	s := stats.NewStore()
	u, err := transport.NewUpstream(transporttest.Socket(t, transporttest.Client(ca, "a.test")), transport.Deps{Stats: s.Scope("cluster.x.")})
	if err != nil {
		t.Fatal(err)
	}
	connect(t, u, downstream(t, transporttest.Server(transporttest.Issue(t, ca, "a.test"))), transport.Options{}).must(t)
	connect(t, u, downstream(t, transporttest.Server(transporttest.Issue(t, ca, "b.test"))), transport.Options{})
	if h, f := value(s, "cluster.x.ssl.handshake"), value(s, "cluster.x.ssl.fail_verify_san"); h != 1 || f != 1 {
		t.Errorf("handshake %d, fail_verify_san %d", h, f)
	}
}

// A connection's certificate may be asked for by the name it was dialled by,
// which is the endpoint's and not its proxy's.
func TestEndpointIsTheNameOfLastResort(t *testing.T) {
	ca := transporttest.Authority(t)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate)
	m := transporttest.Client(nil, "")
	u, err := transport.NewUpstream(transporttest.Socket(t, m), transport.Deps{SystemRoots: pool})
	if err != nil {
		t.Fatal(err)
	}
	d := downstream(t, transporttest.Server(transporttest.Issue(t, ca, "origin.test")))
	connect(t, u, d, transport.Options{Endpoint: network.NameAddress("origin.test", 443)}).must(t)
	if e := connect(t, u, d, transport.Options{}); e.clientErr == nil {
		t.Error("a certificate that names neither was accepted")
	}
}

func TestTLSConfigErrors(t *testing.T) {
	ca := transporttest.Authority(t)
	pair := transporttest.Issue(t, ca, "a.test")
	cert := func(m *tlsv3.DownstreamTlsContext) *tlsv3.TlsCertificate {
		return m.CommonTlsContext.TlsCertificates[0]
	}
	for _, c := range []struct {
		name   string
		change func(*tlsv3.DownstreamTlsContext)
		path   string
	}{
		{"a short ticket key", func(m *tlsv3.DownstreamTlsContext) {
			m.SessionTicketKeysType = &tlsv3.DownstreamTlsContext_SessionTicketKeys{SessionTicketKeys: &tlsv3.TlsSessionTicketKeys{
				Keys: []*corev3.DataSource{transporttest.Inline(make([]byte, 80)), transporttest.Inline(make([]byte, 48))},
			}}
		}, "session_ticket_keys.keys[1]"},
		{"a password for PEM", func(m *tlsv3.DownstreamTlsContext) { cert(m).Password = transporttest.Inline([]byte("x")) },
			"common_tls_context.tls_certificates[0].password"},
		{"PKCS #12 beside PEM", func(m *tlsv3.DownstreamTlsContext) { cert(m).Pkcs12 = transporttest.Inline([]byte("x")) },
			"common_tls_context.tls_certificates[0].pkcs12"},
		{"a key log nowhere", func(m *tlsv3.DownstreamTlsContext) {
			m.CommonTlsContext.KeyLog = &tlsv3.TlsKeyLog{Path: "/nonexistent/dir/log"}
		}, "common_tls_context.key_log.path"},
		{"a key log for no address", func(m *tlsv3.DownstreamTlsContext) {
			m.CommonTlsContext.KeyLog = &tlsv3.TlsKeyLog{Path: "/tmp/x", RemoteAddressRange: []*corev3.CidrRange{{AddressPrefix: "x"}}}
		}, "common_tls_context.key_log.remote_address_range[0].address_prefix"},
		{"a key log for too long a prefix", func(m *tlsv3.DownstreamTlsContext) {
			m.CommonTlsContext.KeyLog = &tlsv3.TlsKeyLog{Path: "/tmp/x", LocalAddressRange: []*corev3.CidrRange{{AddressPrefix: "10.0.0.0", PrefixLen: wrapperspb.UInt32(33)}}}
		}, "common_tls_context.key_log.local_address_range[0].prefix_len"},
	} {
		m := transporttest.Server(pair)
		c.change(m)
		_, err := transport.NewDownstream(transporttest.Socket(t, m), transport.Deps{})
		if all := field.All(err); len(all) != 1 || all[0].Path != "typed_config."+c.path {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
