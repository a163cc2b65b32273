package hcm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// proxied is a tunnel through a manager that proxies CONNECT: both its ends.
func proxied(t *testing.T, p pair) (w *wire, down codec.ClientStream, up codec.ServerStream) {
	t.Helper()
	streams, done := make(chan codec.ServerStream, 1), make(chan struct{})
	c := httpOrigin(t, p.up, func(s codec.ServerStream) {
		if err := s.WriteResponse(&codec.Response{Status: 200}); err != nil {
			t.Errorf("the upstream's answer: %v", err)
		}
		streams <- s
		<-done
	})
	t.Cleanup(func() { close(done) }) // the upstream stream is open until then
	w = serve(t, with(proxyRoute, ""), c, false)
	down = request(t, w.speak(p.down), connect())
	if res := answered(t, down); res.Status != 200 || res.EndStream {
		t.Fatalf("%+v, want 200 and an open stream", res)
	}
	return w, down, <-streams
}

func TestF01EveryPair(t *testing.T) {
	forPairs(t, func(t *testing.T, p pair) {
		_, down, up := proxied(t, p)
		req := up.Request()
		if !req.IsConnect() || req.Authority != "foo.lyft.com:80" || req.Scheme+req.Path != "" || req.HasPath || req.Proto != p.up {
			t.Errorf("the upstream saw %+v", req)
		}
		for _, name := range []string{"content-length", "transfer-encoding", "connection"} {
			if req.Header.Has(name) {
				t.Errorf("the upstream saw %s: %s", name, req.Header.Get(name))
			}
		}
		mustWrite(t, down, "ping")
		mustRead(t, up, "ping")
		mustWrite(t, up, "pong")
		mustRead(t, down, "pong")

		// Each direction ends on its own.
		if err := down.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		mustEnd(t, up)
		mustWrite(t, up, "late")
		mustRead(t, down, "late")
		_ = up.CloseWrite()
		mustEnd(t, down)
	})
}

// The upstream's end leaves the client's direction flowing.
func TestProxiedConnectUpstreamEndsFirst(t *testing.T) {
	const upload = 1 << 20
	forPairs(t, func(t *testing.T, p pair) {
		_, down, up := proxied(t, p)
		mustWrite(t, up, "bye")
		_ = up.CloseWrite()
		mustRead(t, down, "bye")
		mustEnd(t, down)
		go func() { // ends with the upload
			mustWrite(t, down, strings.Repeat("x", upload))
			_ = down.CloseWrite()
		}()
		if n, err := io.Copy(io.Discard, up); n != upload || err != nil {
			t.Errorf("the upstream read %d bytes, %v", n, err)
		}
	})
}

// A reset is a reset on the other side, never an end.
func TestProxiedConnectResets(t *testing.T) {
	forPairs(t, func(t *testing.T, p pair) {
		t.Run("by the client", func(t *testing.T) {
			_, down, up := proxied(t, p)
			mustWrite(t, down, "ping")
			mustRead(t, up, "ping")
			down.Reset(codec.CodeCancel, nil)
			mustReset(t, up)
		})
		t.Run("by the upstream", func(t *testing.T) {
			w, down, up := proxied(t, p)
			mustWrite(t, up, "last words")
			mustRead(t, down, "last words")
			up.Reset(codec.CodeConnect, nil)
			mustReset(t, down)
			if p.down == codec.HTTP11 {
				if err := <-w.errs; err != nil {
					t.Errorf("our own reset of the connection was reported: %v", err)
				}
			}
		})
	})
}

// F04: a client is told the very 2xx; HTTP/2 upstreams say 200, as RFC 9113 has
// it, but whatever they say is passed on.
func TestF04EveryPair(t *testing.T) {
	forPairs(t, func(t *testing.T, p pair) {
		c := httpOrigin(t, p.up, func(s codec.ServerStream) {
			_ = s.WriteResponse(&codec.Response{Status: 202})
			_, _ = io.Copy(s, s)
			_ = s.CloseWrite()
		})
		down := request(t, serve(t, with(proxyRoute, ""), c, false).speak(p.down), connect())
		if res := answered(t, down); res.Status != 202 {
			t.Fatalf("status %d, want 202", res.Status)
		}
		mustWrite(t, down, "ping")
		mustRead(t, down, "ping")
		_ = down.CloseWrite()
		mustEnd(t, down)
	})
}

// F05, RFC 9931: a refusal is passed on with its body, nothing of what the
// client sent reaches the upstream, and an HTTP/1.1 connection ends.
func TestF05EveryPair(t *testing.T) {
	forPairs(t, func(t *testing.T, p pair) {
		read := make(chan string, 1)
		c := httpOrigin(t, p.up, func(s codec.ServerStream) {
			_ = s.WriteResponse(&codec.Response{Status: 400, Header: codec.Fields{{Name: "why", Value: "so"}}})
			mustWrite(t, s, "no")
			_ = s.CloseWrite()
			b, _ := io.ReadAll(s)
			read <- string(b)
		})
		w := serve(t, with(proxyRoute, ""), c, false)
		cc := w.speak(p.down)
		down := request(t, cc, connect())
		if p.down == codec.HTTP2 {
			_, _ = io.WriteString(down, "GET /smuggled HTTP/1.1\r\n\r\n") // unless it is refused already
		}
		if res := answered(t, down); res.Status != 400 || res.Header.Get("why") != "so" {
			t.Errorf("%+v, want the upstream's 400", res)
		}
		if b, err := io.ReadAll(down); string(b) != "no" || err != nil {
			t.Errorf("body %q, %v", b, err)
		}
		if got := <-read; got != "" {
			t.Errorf("the upstream read %q", got)
		}
		_ = down.Close()
		if again := cc.CanOpen(); again != (p.down == codec.HTTP2) {
			t.Errorf("the connection is usable: %v", again)
		}
		if p.down == codec.HTTP11 {
			if err := <-w.errs; err != nil {
				t.Errorf("the connection ended with %v", err)
			}
		}
	})
}

// F06: a client that ended its direction before the answer ends the tunnel's
// behind it. Over HTTP/1.1 such a client has left: there is nothing to compare.
func TestF06BothUpstreams(t *testing.T) {
	for _, up := range []codec.Proto{codec.HTTP11, codec.HTTP2} {
		t.Run(up.String(), func(t *testing.T) {
			c := httpOrigin(t, up, func(s codec.ServerStream) {
				_ = s.WriteResponse(&codec.Response{Status: 200})
				mustRead(t, s, "all")
				mustEnd(t, s)
				mustWrite(t, s, "late")
				_ = s.CloseWrite()
			})
			down := request(t, serve(t, with(proxyRoute, ""), c, false).speak(codec.HTTP2), connect())
			mustWrite(t, down, "all")
			_ = down.CloseWrite()
			if res := answered(t, down); res.Status != 200 {
				t.Fatalf("status %d", res.Status)
			}
			mustRead(t, down, "late")
			mustEnd(t, down)
		})
	}
}

// wireOrigin answers the head of each connection with text, once it was told to
// go on, and gives the connection to the test.
func wireOrigin(t *testing.T, text string, early func(network.Conn)) (w *wire, conns chan network.Conn) {
	t.Helper()
	conns = make(chan network.Conn, 1)
	done := make(chan struct{})
	c := socketOrigin(t, codec.HTTP11, func(_ context.Context, c network.Conn) {
		_ = c.SetDeadline(time.Now().Add(soon))
		readHead(t, c)
		early(c)
		mustWrite(t, c, text)
		conns <- c
		<-done
	})
	t.Cleanup(func() { close(done) })
	return serve(t, with(proxyRoute, ""), c, false), conns
}

// readHead reads a head byte by byte, and nothing behind it.
func readHead(t *testing.T, c io.Reader) string {
	t.Helper()
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, b...) {
		if _, err := io.ReadFull(c, b); err != nil {
			t.Errorf("head %q: %v", head, err)
			return string(head)
		}
	}
	return string(head)
}

// nothingComes checks that a peer stays silent for a moment.
func nothingComes(t *testing.T, c network.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v; want silence", n, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(soon))
}

// F02, F03, F08: byte for byte. Early payload waits for the yes and is then sent
// as it is; what the yes says of a body means nothing.
func TestF02F03F08OnTheWire(t *testing.T) {
	for _, down := range []codec.Proto{codec.HTTP11, codec.HTTP2} {
		t.Run(down.String(), func(t *testing.T) {
			w, conns := wireOrigin(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello",
				func(c network.Conn) { nothingComes(t, c) })
			var near io.ReadWriter
			if down == codec.HTTP2 {
				s := request(t, w.speak(down), connect())
				mustWrite(t, s, "5\r\nearly")
				if res := answered(t, s); res.Status != 200 || len(res.Header.Values("content-length")) > 0 {
					t.Errorf("%+v", res)
				}
				near = s
			} else {
				c := w.dial1()
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(soon))
				mustWrite(t, c, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n5\r\nearly")
				head := strings.ToLower(readHead(t, c))
				if !strings.HasPrefix(head, "http/1.1 200 ") || strings.Contains(head, "chunked") ||
					strings.Contains(head, "content-length") || strings.Contains(head, "connection") {
					t.Errorf("head %q", head)
				}
				near = c
			}
			far := <-conns
			mustRead(t, far, "5\r\nearly")
			mustRead(t, near, "5\r\nhello")
			mustWrite(t, near, "\x00\xff0\r\n\r\n")
			mustRead(t, far, "\x00\xff0\r\n\r\n")
			mustWrite(t, far, "0\r\n\r\n\x16\x03")
			mustRead(t, near, "0\r\n\r\n\x16\x03")
		})
	}
}
