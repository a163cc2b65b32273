package hcm

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
	"culvert/test/ports"
	"culvert/tunnel"
)

// echo hides the sockets: package net would splice, and keep its pipes until
// the next garbage collection.
func echo(c *net.TCPConn) {
	_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
	_ = c.CloseWrite()
}

// xnet is golang.org/x/net's client, which shares no line with our core.
func (w *wire) xnet() *http.Client {
	tr := &http2.Transport{AllowHTTP: true}
	if w.roots == nil {
		tr.DialTLSContext = func(ctx context.Context, network, _ string, _ *tls.Config) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, w.addr)
		}
	} else {
		tr.DialTLSContext = func(ctx context.Context, network, _ string, _ *tls.Config) (net.Conn, error) {
			d := tls.Dialer{Config: &tls.Config{RootCAs: w.roots, ServerName: "gw", NextProtos: []string{"h2"}}}
			return d.DialContext(ctx, network, w.addr)
		}
	}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func (w *wire) do(c *http.Client, method, target string, body io.Reader) *http.Response {
	w.t.Helper()
	req := &http.Request{Method: method, URL: &url.URL{Scheme: "https", Host: "gw"}, Host: target, Header: http.Header{}}
	if method != "CONNECT" {
		req.URL.Path, req.Host = target, "foo.com"
	}
	switch b := body.(type) {
	case nil:
	case io.ReadCloser:
		req.Body = b // closed by the client when the answer needs no more of it
	default:
		req.Body = io.NopCloser(b)
	}
	res, err := c.Do(req)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, target, err)
	}
	return res
}

func TestE01OnTheWire(t *testing.T) {
	for name, secure := range map[string]bool{"TLS": true, "cleartext": false} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, with(terminateRoute, ""), tcpOrigin(t, echo), secure)
			payload := make([]byte, 8<<20)
			_, _ = rand.Read(payload)
			res := w.do(w.xnet(), "CONNECT", "foo.lyft.com:80", bytes.NewReader(payload))
			defer res.Body.Close()
			if res.StatusCode != 200 || res.Header.Get("server") != "culvert" {
				t.Fatalf("%d %v", res.StatusCode, res.Header)
			}
			sum := sha256.New()
			if n, err := io.Copy(sum, res.Body); n != int64(len(payload)) || err != nil {
				t.Fatalf("echoed %d bytes, %v", n, err)
			}
			if got := [32]byte(sum.Sum(nil)); got != sha256.Sum256(payload) {
				t.Error("the echo differs")
			}
		})
	}
}

func TestE21OnTheWire(t *testing.T) {
	w := serve(t, with(terminateRoute, ""), dials(ports.Closed(t)), true)
	pr, pw := io.Pipe() // a client whose direction stays open
	defer pw.Close()
	res := w.do(w.xnet(), "CONNECT", "foo.lyft.com:80", pr)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if res.StatusCode != 503 || err != nil || !strings.HasSuffix(string(body), "delayed connect error: Connection refused") {
		t.Errorf("%d %q %v", res.StatusCode, body, err)
	}
	if got := res.Header.Get("proxy-status"); !strings.HasPrefix(got, "culvert;error=connection_refused;") {
		t.Errorf("Proxy-Status %q", got)
	}
}

func TestD02OnTheWire(t *testing.T) {
	w := serve(t, with(`{match: {prefix: "/"}, direct_response: {status: 200, body: {inline_string: hello}}}`, ""), nil, true)
	c := w.xnet()
	res := w.do(c, "CONNECT", "foo.lyft.com:80", nil)
	_ = res.Body.Close()
	if res.StatusCode != 404 {
		t.Errorf("CONNECT: %d, want 404", res.StatusCode)
	}
	res = w.do(c, "GET", "/", nil)
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != 200 || string(body) != "hello" {
		t.Errorf("the connection is not usable afterwards: %d %q", res.StatusCode, body)
	}
	reaches(t, w.store, "http.in.downstream_cx_total", 1)
}

// open is a CONNECT by our own client that has its 200.
func (w *wire) open(cc *h2.ClientConn) codec.ClientStream {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), soon)
	defer cancel()
	s, err := cc.OpenStream(ctx, connect())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.Close() })
	res, err := s.ReadResponse(ctx)
	if err != nil || res.Status != 200 {
		w.t.Fatalf("%+v %v", res, err)
	}
	return s
}

// E10: the origin's FIN is an END_STREAM, no reset, and our upload goes on.
func TestE10OnTheWire(t *testing.T) {
	const upload = 4 << 20
	got := make(chan int64, 1)
	w := serve(t, with(terminateRoute, ""), tcpOrigin(t, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("bye"))
		_ = c.CloseWrite()
		n, _ := io.Copy(io.Discard, c)
		got <- n
	}), true)
	s := w.open(w.client())
	b, err := io.ReadAll(s)
	if string(b) != "bye" || err != nil {
		t.Fatalf("read %q, %v", b, err)
	}
	mustWrite(t, s, strings.Repeat("x", upload))
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n := <-got; n != upload {
		t.Errorf("the origin read %d bytes, want %d", n, upload)
	}
}

// Half-close by the client first, with the reverse direction still flowing.
func TestClientHalfCloseOnTheWire(t *testing.T) {
	const download = 4 << 20
	w := serve(t, with(terminateRoute, ""), tcpOrigin(t, func(c *net.TCPConn) {
		_, _ = io.Copy(io.Discard, c) // until the client's end
		_, _ = c.Write(make([]byte, download))
	}), true)
	s := w.open(w.client())
	mustWrite(t, s, "request")
	_ = s.CloseWrite()
	if n, err := io.Copy(io.Discard, s); n != download || err != nil {
		t.Errorf("read %d bytes, %v; want %d", n, err, download)
	}
}

func TestOriginResetOnTheWire(t *testing.T) {
	w := serve(t, with(terminateRoute, ""), tcpOrigin(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 4))
		_ = c.SetLinger(0) // Close sends RST
	}), true)
	s := w.open(w.client())
	mustWrite(t, s, "ping")
	_, err := s.Read(make([]byte, 1))
	var reset *network.ResetError
	if !errors.As(err, &reset) || !reset.Remote || reset.Code != uint64(http2.ErrCodeConnect) {
		t.Errorf("read %v, want RST_STREAM with CONNECT_ERROR", err)
	}
}

func TestClientResetOnTheWire(t *testing.T) {
	got := make(chan error, 1)
	w := serve(t, with(terminateRoute, ""), tcpOrigin(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 4))
		_, err := c.Read(make([]byte, 1))
		got <- err
	}), true)
	s := w.open(w.client())
	mustWrite(t, s, "ping")
	s.Reset(codec.CodeCancel, nil)
	if err := <-got; !network.IsReset(err) {
		t.Errorf("the origin saw %v, want a reset", err)
	}
}

// A connection that dies takes its tunnels with it, as resets.
func TestConnectionLostOnTheWire(t *testing.T) {
	got := make(chan error, 1)
	w := serve(t, with(terminateRoute, ""), tcpOrigin(t, func(c *net.TCPConn) {
		_, err := c.Read(make([]byte, 1))
		got <- err
	}), false)
	cc := w.client()
	w.open(cc)
	cc.Close(errors.New("gone"))
	if err := <-got; !network.IsReset(err) {
		t.Errorf("the origin saw %v, want a reset", err)
	}
}

// awaitGoAway waits until the client knows that the server takes no more.
func awaitGoAway(t *testing.T, cc *h2.ClientConn) {
	t.Helper()
	for deadline := time.Now().Add(soon); cc.CanOpen(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no GOAWAY came")
		}
	}
}

// A drain ends a connection after its tunnels, not its tunnels.
func TestDrainKeepsTunnels(t *testing.T) {
	w := serve(t, with(terminateRoute, ""), tcpOrigin(t, echo), true)
	cc := w.client()
	s := w.open(cc)
	w.drain()
	awaitGoAway(t, cc)
	mustWrite(t, s, "still")
	mustRead(t, s, "still")
	_ = s.CloseWrite()
	mustEnd(t, s)
	_ = s.Close()
	if err := <-w.errs; err != nil {
		t.Errorf("the drained connection ended with %v", err)
	}
	reaches(t, w.store, "http.in.downstream_cx_active", 0)
}

// Whoever serves a connection may end it at any time, also one that drains: its
// tunnels end by a reset at once, not with the drain's time.
func TestAbortEndsTunnels(t *testing.T) {
	for name, drains := range map[string]bool{"open": false, "draining": true} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, with(terminateRoute, ""), tcpOrigin(t, echo), true)
			cc := w.client()
			s := w.open(cc)
			if drains {
				w.drain()
				awaitGoAway(t, cc)
			}
			w.abort()
			_ = s.SetReadDeadline(time.Now().Add(soon))
			if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the tunnel ended with %v", err)
			}
			select {
			case <-w.errs:
			case <-time.After(soon):
				t.Error("the connection is served still")
			}
		})
	}
}

func TestPeersThatSpeakNoHTTP2(t *testing.T) {
	t.Run("cleartext HTTP/1.1", func(t *testing.T) {
		w := serve(t, with(terminateRoute, "codec_type: HTTP2"), nil, false)
		c := w.dial()
		defer c.Close()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		_, _ = io.Copy(io.Discard, c) // until it is closed
		if err := <-w.errs; err == nil {
			t.Error("the connection ended well")
		}
		reaches(t, w.store, "http.in.downstream_cx_protocol_error", 1)
	})
	for alpn, codec := range map[string]string{"http/1.1": "HTTP2", "h2": "HTTP1"} {
		t.Run("ALPN "+alpn, func(t *testing.T) {
			w := serve(t, with(terminateRoute, "codec_type: "+codec), nil, true)
			c, err := tls.Dial("tcp", w.addr, &tls.Config{RootCAs: w.roots, ServerName: "gw", NextProtos: []string{alpn}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = io.Copy(io.Discard, c)
			if err := <-w.errs; !errors.Is(err, errALPN) {
				t.Errorf("ended with %v", err)
			}
			reaches(t, w.store, "http.in.downstream_cx_protocol_error", 1)
		})
	}
}

func TestMaxConnectionDuration(t *testing.T) {
	w := serve(t, with(terminateRoute, "common_http_protocol_options: {max_connection_duration: 0.2s}"), nil, true)
	cc := w.client()
	if err := <-w.errs; err != nil {
		t.Errorf("ended with %v", err)
	}
	reaches(t, w.store, "http.in.downstream_cx_max_duration_reached", 1)
	awaitGoAway(t, cc)
}

// overHTTP2 is a cluster of one net/http server, reached by our own client.
func overHTTP2(t *testing.T, h http.HandlerFunc) fakeCluster {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	c, err := tls.Dial("tcp", srv.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	cc := h2.NewClientConn(tlsConn{c}, h2.Config{})
	var wg sync.WaitGroup
	wg.Go(func() { _ = cc.Run(context.Background()) }) // ends with Close
	t.Cleanup(func() { cc.Close(nil); wg.Wait(); srv.Close() })
	return fakeCluster{stream: func(head *codec.Request) (codec.ClientStream, error) {
		return cc.OpenStream(context.Background(), head)
	}}
}

func TestPlainOnTheWire(t *testing.T) {
	w := serve(t, with(plainRoute, ""), overHTTP2(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("trailer", "sum")
		if r.Method == "POST" {
			rw.WriteHeader(201)
		}
		n, _ := io.Copy(rw, r.Body)
		rw.Header().Set("sum", fmt.Sprint(n))
	}), true)
	c := w.xnet()
	payload := strings.Repeat("0123456789abcdef", 1<<16)
	res := w.do(c, "POST", "/upload?x=1", strings.NewReader(payload))
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if res.StatusCode != 201 || string(body) != payload || err != nil {
		t.Errorf("%d, %d bytes, %v", res.StatusCode, len(body), err)
	}
	if res.Trailer.Get("sum") != fmt.Sprint(len(payload)) {
		t.Errorf("trailers %v", res.Trailer)
	}
	res = w.do(c, "GET", "/", nil)
	_ = res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("GET: %d", res.StatusCode)
	}
}

// F01 over two hops of HTTP/2, with an independent peer at each end.
func TestF01OnTheWire(t *testing.T) {
	w := serve(t, with(proxyRoute, ""), overHTTP2(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != "CONNECT" || r.Host != "foo.lyft.com:80" || r.URL.Path != "" {
			rw.WriteHeader(400)
			return
		}
		rw.WriteHeader(200)
		_ = http.NewResponseController(rw).Flush()
		buf := make([]byte, 4)
		for {
			if _, err := io.ReadFull(r.Body, buf); err != nil {
				return
			}
			_, _ = rw.Write(bytes.ToUpper(buf))
			_ = http.NewResponseController(rw).Flush()
		}
	}), true)
	pr, pw := io.Pipe()
	res := w.do(w.xnet(), "CONNECT", "foo.lyft.com:80", pr)
	defer res.Body.Close()
	if res.StatusCode != 200 {
		t.Fatalf("status %d", res.StatusCode)
	}
	for range 3 {
		mustWrite(t, pw, "ping")
		mustRead(t, res.Body, "PING")
	}
	_ = pw.Close()
	mustEnd(t, res.Body)
}

// Decapsulated payload meets the HTTP pipeline again: the CONNECT ends in an
// internal listener whose handler is a connection manager too.
func TestDecapsulatedHTTPOnTheWire(t *testing.T) {
	heads := make(chan *codec.Request, 1)
	outside := make(chan string, 1) // the protocol of the exchange the flow came out of
	inner := newBench(t, with(directRoute, ""), nil, map[string]codec.Filter{"router": ends{filterFunc(
		func(_ context.Context, x *codec.Exchange, _ codec.RoundTripper) error {
			heads <- x.Request
			outside <- x.Info.Parent.Parent.Protocol
			return &codec.LocalReply{Status: 203, Body: "inside"}
		})}})
	w := serve(t, with(terminateRoute, ""), internal(inner.hcm.ServeFlow), true)
	outer := w.open(w.client())
	cc := h2.NewClientConn(tunnel.NewConn(outer), h2.Config{})
	var wg sync.WaitGroup
	wg.Go(func() { _ = cc.Run(context.Background()) }) // ends with Close
	defer wg.Wait()
	defer cc.Close(nil)
	s, err := cc.OpenStream(t.Context(), get("/inner"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	res, err := s.ReadResponse(t.Context())
	if err != nil || res.Status != 203 {
		t.Fatalf("%+v %v", res, err)
	}
	mustRead(t, s, "inside")
	if head := <-heads; head.Header.Get("x-forwarded-proto") != "http" || head.Path != "/inner" {
		t.Errorf("the inner manager saw %+v", head)
	}
	if got := <-outside; got != "HTTP/2" {
		t.Errorf("the inner exchange has no way back to the outer one: %q", got)
	}
}
