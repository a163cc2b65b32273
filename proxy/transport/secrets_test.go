package transport_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/transport"
	"culvert/proxy/transport/selfsigned"
	"culvert/proxy/transport/transporttest"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// directory is where a test keeps its files.
type directory string

func (d directory) path(name string) string { return filepath.Join(string(d), name) }

// put writes a file as it should be done: beside it, then renamed.
func (d directory) put(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(d.path(name+".new"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(d.path(name+".new"), d.path(name)); err != nil {
		t.Fatal(err)
	}
}

func (d directory) putPair(t *testing.T, p *selfsigned.Pair) {
	t.Helper()
	d.put(t, "crt", p.Certificate)
	d.put(t, "key", p.Key)
}

func (d directory) source(name string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: d.path(name)}}
}

func (d directory) certificate() *tlsv3.TlsCertificate {
	return &tlsv3.TlsCertificate{CertificateChain: d.source("crt"), PrivateKey: d.source("key")}
}

// settle looks as often as a change needs to count.
func settle(s *transport.Secrets) {
	s.Poll()
	s.Poll()
}

// reloading is a server whose files are watched, and what it logs.
type reloading struct {
	directory
	secrets *transport.Secrets
	server  transport.Downstream
	log     bytes.Buffer
}

func newReloading(t *testing.T, first *selfsigned.Pair, change func(directory, *tlsv3.DownstreamTlsContext)) *reloading {
	t.Helper()
	r := &reloading{directory: directory(t.TempDir())}
	r.putPair(t, first)
	r.secrets = transport.NewSecrets(slog.New(slog.NewTextHandler(&r.log, nil)))
	m := &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{TlsCertificates: []*tlsv3.TlsCertificate{r.certificate()}}}
	if change != nil {
		change(r.directory, m)
	}
	var err error
	if r.server, err = transport.NewDownstream(transporttest.Socket(t, m), transport.Deps{Secrets: r.secrets}); err != nil {
		t.Fatal(err)
	}
	return r
}

// shows is the serial number of the certificate that a client sees.
func (r *reloading) shows(t *testing.T, ca *selfsigned.Authority) string {
	t.Helper()
	e := connect(t, upstream(t, transporttest.Client(ca, "a.test")), r.server, transport.Options{}).must(t)
	return transport.ConnTLS(e.client).PeerCertificates[0].SerialNumber.String()
}

func serial(t *testing.T, p *selfsigned.Pair) string { return leaf(t, p).SerialNumber.String() }

func TestReload(t *testing.T) {
	ca := transporttest.Authority(t)
	first, second, third := transporttest.Issue(t, ca, "a.test"), transporttest.Issue(t, ca, "a.test"), transporttest.Issue(t, ca, "a.test")
	r := newReloading(t, first, nil)
	standing := connect(t, upstream(t, transporttest.Client(ca, "a.test")), r.server, transport.Options{}).must(t)
	expect := func(when string, want *selfsigned.Pair) {
		t.Helper()
		if got := r.shows(t, ca); got != serial(t, want) {
			t.Errorf("%s: another certificate is shown", when)
		}
	}
	expect("at first", first)

	r.putPair(t, second)
	r.secrets.Poll()
	expect("a change that may not be complete", first)
	r.secrets.Poll()
	expect("a change that has settled", second)
	if _, err := standing.client.Write([]byte("x")); err != nil {
		t.Errorf("a connection that stood: %v", err)
	}
	if n, err := standing.server.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("a connection that stood: %d, %v", n, err)
	}

	r.log.Reset()
	r.put(t, "key", third.Key) // not the certificate's
	settle(r.secrets)
	settle(r.secrets)
	expect("a bad key", second)
	if got := strings.Count(r.log.String(), "level=ERROR"); got != 1 || strings.Contains(r.log.String(), "PRIVATE") {
		t.Errorf("%d errors logged: %s", got, &r.log)
	}
	r.put(t, "crt", third.Certificate)
	settle(r.secrets)
	expect("its certificate came", third)

	if err := os.Remove(r.path("crt")); err != nil {
		t.Fatal(err)
	}
	settle(r.secrets)
	expect("a file that is gone", third)
}

func TestReloadOfAuthoritiesAndRevocations(t *testing.T) {
	oldCA, newCA := transporttest.Authority(t), transporttest.Authority(t)
	pair := transporttest.Issue(t, oldCA, "a.test")
	ofOld, ofNew := transporttest.Issue(t, oldCA, "client.test"), transporttest.Issue(t, newCA, "client.test")
	revoke := func(ca *selfsigned.Authority, pairs ...*selfsigned.Pair) []byte {
		list, err := ca.Revoke()
		for _, p := range pairs {
			list, err = ca.Revoke(leaf(t, p).SerialNumber)
		}
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	r := newReloading(t, pair, func(d directory, m *tlsv3.DownstreamTlsContext) {
		d.put(t, "ca", oldCA.PEM())
		d.put(t, "crl", append(revoke(oldCA), revoke(newCA)...))
		transporttest.Validate(m.CommonTlsContext, &tlsv3.CertificateValidationContext{TrustedCa: d.source("ca"), Crl: d.source("crl")})
	})
	accepts := func(p *selfsigned.Pair) bool {
		m := transporttest.Client(oldCA, "a.test")
		m.CommonTlsContext.TlsCertificates = []*tlsv3.TlsCertificate{transporttest.Certificate(p)}
		return serverAccepts(connect(t, upstream(t, m), r.server, transport.Options{}))
	}
	if !accepts(ofOld) || accepts(ofNew) {
		t.Fatal("the first authority is not the one trusted")
	}
	r.put(t, "ca", newCA.PEM())
	settle(r.secrets)
	if accepts(ofOld) || !accepts(ofNew) {
		t.Error("the new authority is not the one trusted")
	}
	r.put(t, "crl", revoke(newCA, ofNew))
	settle(r.secrets)
	if accepts(ofNew) {
		t.Error("a certificate that was revoked since is accepted")
	}
}

func TestReloadForgetsSessions(t *testing.T) {
	ca := transporttest.Authority(t)
	r := newReloading(t, transporttest.Issue(t, ca, "a.test"), nil)
	client := upstream(t, transporttest.Client(ca, "a.test"))
	resumes := func() bool {
		e := connect(t, client, r.server, transport.Options{}).must(t)
		if _, err := e.server.Write([]byte("x")); err != nil { // the ticket comes with it
			t.Fatal(err)
		}
		if _, err := e.client.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		return transport.ConnTLS(e.client).DidResume
	}
	if resumes() || !resumes() {
		t.Fatal("sessions are not resumed as they should be")
	}
	r.putPair(t, transporttest.Issue(t, ca, "a.test"))
	settle(r.secrets)
	if resumes() {
		t.Error("a session of the old certificate was resumed")
	}
}

// The directory stands for its files: what changes in them does not count until
// the directory does, as when Kubernetes turns a link.
func TestWatchedDirectory(t *testing.T) {
	ca := transporttest.Authority(t)
	first, second := transporttest.Issue(t, ca, "a.test"), transporttest.Issue(t, ca, "a.test")
	elsewhere := directory(t.TempDir())
	r := newReloading(t, first, func(d directory, m *tlsv3.DownstreamTlsContext) {
		m.CommonTlsContext.TlsCertificates[0].WatchedDirectory = &corev3.WatchedDirectory{Path: string(elsewhere)}
	})
	r.putPair(t, second)
	settle(r.secrets)
	if r.shows(t, ca) != serial(t, first) {
		t.Error("the files were read though their directory had not changed")
	}
	elsewhere.put(t, "..data", nil)
	settle(r.secrets)
	if r.shows(t, ca) != serial(t, second) {
		t.Error("the files were not read though their directory had changed")
	}
}

func TestReloadOfAClientsCertificate(t *testing.T) {
	ca := transporttest.Authority(t)
	first, second := transporttest.Issue(t, ca, "client.test"), transporttest.Issue(t, ca, "client.test")
	d := directory(t.TempDir())
	d.putPair(t, first)
	m := transporttest.Client(ca, "a.test")
	m.CommonTlsContext.TlsCertificates = []*tlsv3.TlsCertificate{d.certificate()}
	secrets := transport.NewSecrets(nil)
	u, err := transport.NewUpstream(transporttest.Socket(t, m), transport.Deps{Secrets: secrets})
	if err != nil {
		t.Fatal(err)
	}
	server := downstream(t, transporttest.MutualServer(transporttest.Issue(t, ca, "a.test"), ca))
	shown := func() string {
		return connect(t, u, server, transport.Options{}).must(t).info.TLS.PeerCertificates[0].SerialNumber.String()
	}
	if shown() != serial(t, first) {
		t.Error("at first")
	}
	d.putPair(t, second)
	settle(secrets)
	if shown() != serial(t, second) {
		t.Error("after the change")
	}
}

func TestSecretsRunLooksAndEnds(t *testing.T) {
	ca := transporttest.Authority(t)
	first, second := transporttest.Issue(t, ca, "a.test"), transporttest.Issue(t, ca, "a.test")
	r := newReloading(t, first, nil)
	inUse := func() string { return r.secrets.Certificates()[0].SerialNumber.String() }
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error)
		go func() { ended <- r.secrets.Run(ctx) }() // received below
		r.putPair(t, second)
		time.Sleep(1500 * time.Millisecond) // one look
		if inUse() != serial(t, first) {
			t.Error("a change counted before it had settled")
		}
		time.Sleep(time.Second)
		if inUse() != serial(t, second) {
			t.Error("a change is not seen after two looks")
		}
		cancel(errors.New("enough"))
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestCertificatesInUse(t *testing.T) {
	ca := transporttest.Authority(t)
	secrets := transport.NewSecrets(nil)
	if got := secrets.DaysUntilFirstExpiry(); got != math.MaxUint32 {
		t.Errorf("of nothing: %d", got)
	}
	build := func(m *tlsv3.DownstreamTlsContext) {
		t.Helper()
		if _, err := transport.NewDownstream(transporttest.Socket(t, m), transport.Deps{Secrets: secrets}); err != nil {
			t.Fatal(err)
		}
	}
	build(transporttest.MutualServer(transporttest.Issue(t, ca, "a.test"), ca))
	if got := secrets.DaysUntilFirstExpiry(); got != 89 { // 90 days less a moment
		t.Errorf("days: %d", got)
	}
	d := directory(t.TempDir())
	d.putPair(t, issue(t, ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(30 * time.Hour) }, "b.test"))
	build(&tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{TlsCertificates: []*tlsv3.TlsCertificate{d.certificate()}}})
	if got := secrets.DaysUntilFirstExpiry(); got != 1 {
		t.Errorf("days with one that expires tomorrow: %d", got)
	}
	d.putPair(t, issue(t, ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "b.test"))
	settle(secrets)
	if got := secrets.DaysUntilFirstExpiry(); got != 0 {
		t.Errorf("days with one that has expired: %d", got)
	}
	var places []string
	for _, c := range secrets.Certificates() {
		if c.Authority != c.IsCA {
			t.Errorf("%s of %s: authority %v", c.Subject, c.Place, c.Authority)
		}
		places = append(places, c.Place)
	}
	if want := []string{"inline_bytes", "inline_bytes", d.path("crt")}; !slices.Equal(places, want) {
		t.Errorf("places: %v", places)
	}
}
