package h2_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
)

// tlsConn is a TLS connection as a Conn; it counts the writes it is given.
type tlsConn struct {
	*tls.Conn
	raw    network.Conn
	mu     sync.Mutex
	writes int
}

func (c *tlsConn) Abort(cause error) { c.raw.Abort(cause) }

func (c *tlsConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes++
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *tlsConn) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writes
}

func tlsPair(t testing.TB) (a, b *tlsConn) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"gw"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(crand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	cert, _ := x509.ParseCertificate(der)
	pool.AddCert(cert)
	x, y := socketPair(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2"}}
	a = &tlsConn{Conn: tls.Client(x, &tls.Config{RootCAs: pool, ServerName: "gw", NextProtos: []string{"h2"}}), raw: x}
	b = &tlsConn{Conn: tls.Server(y, cfg), raw: y}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Handshake(); err != nil {
			t.Error(err)
		}
	})
	if err := a.Handshake(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	return a, b
}

// Over TLS a batch of frames is one write, headers and payload together.
func TestTLS(t *testing.T) {
	h, streams := handOver(t)
	a, b := tlsPair(t)
	server(t, context.Background(), b, h2.Config{}, h)
	cc := client(t, a, h2.Config{})
	st := open(t, cc)
	ss := next(t, streams)
	want := random(1, 8<<20)
	before := a.count()
	var wg sync.WaitGroup
	wg.Go(func() {
		for rest := want; len(rest) > 0; rest = rest[64<<10:] {
			write(t, st, rest[:64<<10])
		}
		_ = st.CloseWrite()
	})
	expectRead(t, ss, want)
	expectEOF(t, ss)
	wg.Wait()
	if n := a.count() - before; n > 128+20 { // 128 batches, an END_STREAM, and what answers the server
		t.Errorf("%d writes for 128 batches", n)
	}
	write(t, ss, []byte("late"))
	_ = ss.CloseWrite()
	expectRead(t, st, []byte("late"))
	expectEOF(t, st)
}
