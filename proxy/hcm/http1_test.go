package hcm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"culvert/proxy/network"
)

// dial1 connects as a client that knows HTTP/1.1 only.
func (w *wire) dial1() network.Conn {
	w.t.Helper()
	if w.roots == nil {
		return w.dial()
	}
	tc, err := tls.Dial("tcp", w.addr, &tls.Config{RootCAs: w.roots, ServerName: "gw", NextProtos: []string{"http/1.1"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return tlsConn{tc}
}

// ask writes a request and reads the answer's head.
func ask(t *testing.T, c network.Conn, method, text string) (*http.Response, *bufio.Reader) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	return res, br
}

// E01 over HTTP/1.1: a tunnel of which each direction ends on its own.
func TestE01HTTP1(t *testing.T) {
	for name, secure := range map[string]bool{"TLS": true, "cleartext": false} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, with(terminateRoute, ""), tcpOrigin(t, echo), secure)
			c := w.dial1()
			defer c.Close()
			res, br := ask(t, c, "CONNECT", "CONNECT foo.lyft.com:80 HTTP/1.1\r\nHost: foo.lyft.com:80\r\n\r\n")
			if res.StatusCode != 200 || res.Header.Get("Transfer-Encoding")+res.Header.Get("Content-Length") != "" {
				t.Fatalf("%d %v", res.StatusCode, res.Header)
			}
			payload := bytes.Repeat([]byte("culvert "), 1<<20)
			go func() { // ends when all is written
				_, _ = c.Write(payload)
				_ = c.CloseWrite()
			}()
			sum := sha256.New()
			if n, err := io.Copy(sum, br); n != int64(len(payload)) || err != nil {
				t.Fatalf("echoed %d bytes, %v", n, err)
			}
			if [32]byte(sum.Sum(nil)) != sha256.Sum256(payload) {
				t.Error("the echo differs")
			}
			reaches(t, w.store, "http.in.downstream_cx_http1_total", 1)
		})
	}
}

// E10, G22: an origin that resets is a reset to the client, not an end.
func TestE10HTTP1OriginResets(t *testing.T) {
	w := serve(t, with(terminateRoute, ""), tcpOrigin(t, func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1)) // not before the tunnel is there
		_ = c.SetLinger(0)
		_ = c.Close()
	}), false)
	c := w.dial1()
	defer c.Close()
	_, br := ask(t, c, "CONNECT", "CONNECT foo.lyft.com:80 HTTP/1.1\r\nHost: foo.lyft.com:80\r\n\r\n")
	mustWrite(t, c, "x")
	if _, err := br.ReadByte(); !network.IsReset(err) {
		t.Errorf("read: %v, want a reset", err)
	}
}

// D01, F05, RFC 9931: a refused CONNECT closes the connection, and what came
// behind it is nobody's request.
func TestD01HTTP1RefusedConnectCloses(t *testing.T) {
	w := serve(t, with(`{match: {prefix: "/"}, direct_response: {status: 200, body: {inline_string: hello}}}`, ""), nil, false)
	c := w.dial1()
	defer c.Close()
	res, br := ask(t, c, "CONNECT", "CONNECT foo.lyft.com:80 HTTP/1.1\r\nHost: foo.lyft.com:80\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != 404 || !res.Close {
		t.Errorf("%d %v %q", res.StatusCode, res.Header, body)
	}
	if rest, _ := io.ReadAll(br); strings.Contains(string(rest), "hello") {
		t.Error("bytes behind a refused CONNECT were served as a request")
	}
	reaches(t, w.store, "http.in.downstream_rq_total", 1)
}

// Plain requests follow each other on one connection; the client may be of
// either version with AUTO.
func TestPlainHTTP1(t *testing.T) {
	w := serve(t, with(`{match: {prefix: "/"}, direct_response: {status: 200, body: {inline_string: hello}}}`, ""), nil, false)
	c := w.dial1()
	defer c.Close()
	for range 3 {
		res, _ := ask(t, c, "GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		body, err := io.ReadAll(res.Body)
		if res.StatusCode != 200 || string(body) != "hello" || err != nil {
			t.Fatalf("%d %q %v", res.StatusCode, body, err)
		}
	}
	reaches(t, w.store, "http.in.downstream_cx_http1_total", 1)
	reaches(t, w.store, "http.in.downstream_rq_http1_total", 3)
}
