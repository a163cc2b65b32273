package hcm

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/httpfilter/router"
	"culvert/proxy/network"
)

// wire is a connection manager on a loopback socket.
type wire struct {
	*bench
	addr  string
	roots *x509.CertPool     // nil: cleartext
	abort context.CancelFunc // ends the context of ServeFlow
	errs  chan error         // of ServeFlow, one for each connection
}

// serve puts a connection manager on a socket, over TLS if secure.
func serve(t *testing.T, text string, c router.Cluster, secure bool) *wire {
	t.Helper()
	return serveWith(t, text, c, nil, secure)
}

// serveWith is serve with filters of the test's own.
func serveWith(t *testing.T, text string, c router.Cluster, filters map[string]codec.Filter, secure bool) *wire {
	t.Helper()
	return serveAt(t, "127.0.0.1:0", text, c, filters, secure)
}

// serveAt is serveWith at an address.
func serveAt(t *testing.T, at, text string, c router.Cluster, filters map[string]codec.Filter, secure bool) *wire {
	t.Helper()
	w := &wire{bench: newBench(t, text, c, filters), errs: make(chan error, 16)}
	ln, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	w.addr = ln.Addr().String()
	var config *tls.Config
	if secure {
		config, w.roots = certificate(t)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.abort = cancel
	var wg sync.WaitGroup
	wg.Go(func() { // ends when the listener is closed
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { w.serveConn(ctx, c, config) }) // ends with the connection
		}
	})
	t.Cleanup(func() { _ = ln.Close(); cancel(); wg.Wait() })
	return w
}

func (w *wire) serveConn(ctx context.Context, c net.Conn, config *tls.Config) {
	f := &flow{info: network.NewStreamInfo(w.flows.NextID())}
	f.info.RemoteAddress, f.info.LocalAddress = network.AddressOf(c.RemoteAddr()), network.AddressOf(c.LocalAddr())
	if config == nil {
		f.conn, _ = network.NewSocket(c)
	} else {
		tc := tls.Server(c, config)
		if err := tc.HandshakeContext(ctx); err != nil {
			w.errs <- err
			return
		}
		state := tc.ConnectionState()
		f.info.TLS, f.info.ALPN = &state, state.NegotiatedProtocol
		f.conn = tlsConn{tc}
	}
	w.errs <- w.hcm.ServeFlow(ctx, f)
}

// flow is a connection that has been accepted already.
type flow struct {
	info *network.StreamInfo
	conn network.Conn
}

func (f *flow) Info() *network.StreamInfo                    { return f.info }
func (f *flow) Accept(context.Context) (network.Conn, error) { return f.conn, nil }
func (f *flow) Reject(error)                                 {}
func (f *flow) Context() context.Context                     { return context.Background() }

type tlsConn struct{ *tls.Conn }

// Abort resets: a FIN would be taken for an end, since crypto/tls does not miss
// a close_notify.
func (c tlsConn) Abort(error) {
	_ = c.NetConn().(*net.TCPConn).SetLinger(0)
	_ = c.NetConn().Close()
}

func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gw"}, DNSNames: []string{"gw"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"h2", "http/1.1"},
	}, pool
}

// dial connects to the manager, over TLS if it speaks it.
func (w *wire) dial() network.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.roots == nil {
		s, err := network.NewSocket(c)
		if err != nil {
			w.t.Fatal(err)
		}
		return s
	}
	tc := tls.Client(c, &tls.Config{RootCAs: w.roots, ServerName: "gw", NextProtos: []string{"h2"}})
	if err := tc.Handshake(); err != nil {
		w.t.Fatal(err)
	}
	return tlsConn{tc}
}

// client is our own HTTP/2 client on a connection to the manager.
func (w *wire) client() *h2.ClientConn {
	w.t.Helper()
	cc := h2.NewClientConn(w.dial(), h2.Config{})
	var wg sync.WaitGroup
	wg.Go(func() { _ = cc.Run(context.Background()) }) // ends with Close
	w.t.Cleanup(func() { cc.Close(nil); wg.Wait() })
	return cc
}

// tcpOrigin is a cluster that dials a listening socket whose connections are
// served by fn.
func tcpOrigin(t *testing.T, fn func(*net.TCPConn)) fakeCluster {
	t.Helper()
	return dials(serveTCP(t, "127.0.0.1:0", fn))
}

func dials(addr string) fakeCluster {
	return fakeCluster{open: func(ctx context.Context, _ *network.StreamInfo) (network.Conn, network.Handler, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		s, err := network.NewSocket(c)
		return s, nil, err
	}}
}
