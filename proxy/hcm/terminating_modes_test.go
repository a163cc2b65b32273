package hcm

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/tunnel"
)

const postRoute = `{match: {prefix: "/"}, route: {cluster: c, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {allow_post: true}}]}}`

// terminating is a manager that terminates every mode, in front of an origin.
func terminating(t *testing.T, m tunnel.Mode, more string, origin func(*net.TCPConn)) *wire {
	t.Helper()
	return serve(t, with(terminateRoute+","+postRoute, more), tcpOrigin(t, origin), m.Secure)
}

// forModes runs body once for each mode a tunnel can be asked for in.
func forModes(t *testing.T, body func(t *testing.T, m tunnel.Mode)) {
	t.Helper()
	for _, m := range tunnel.Modes() {
		t.Run(m.String(), func(t *testing.T) { body(t, m) })
	}
}

// asks is the request for a tunnel.
func asks(m tunnel.Mode) *codec.Request {
	if m.Method == tunnel.MethodConnect {
		return connect()
	}
	r := post("/")
	r.Authority = "foo.lyft.com:80"
	return r
}

// tunnelOf is a tunnel that has its 200.
func (w *wire) tunnelOf(m tunnel.Mode) codec.ClientStream {
	w.t.Helper()
	s := request(w.t, w.speak(m.Proto), asks(m))
	if res := answered(w.t, s); res.Status != 200 || res.EndStream {
		w.t.Fatalf("%+v, want 200 and an open stream", res)
	}
	return s
}

// E01, E07, E14: the payload of both directions, each of which ends on its own;
// the client's end first. A byte that a POST sends before the answer waits.
func TestE01EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		w := terminating(t, m, "", func(c *net.TCPConn) {
			n, err := io.Copy(io.Discard, c) // until the client's end
			if n != 2<<20 || err != nil {
				t.Errorf("the origin read %d bytes, %v", n, err)
			}
			_, _ = c.Write(make([]byte, 1<<20))
		})
		s := request(t, w.speak(m.Proto), asks(m))
		left := 2 << 20
		if !m.Raw() {
			mustWrite(t, s, "early")
			left -= len("early")
		}
		if res := answered(t, s); res.Status != 200 {
			t.Fatalf("status %d", res.Status)
		}
		mustWrite(t, s, strings.Repeat("x", left))
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, s); n != 1<<20 || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
	})
}

// E10: the origin's end first, and the upload goes on.
func TestE10EveryMode(t *testing.T) {
	const upload = 1 << 20
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		got := make(chan int64, 1)
		s := terminating(t, m, "", func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "bye")
			_ = c.CloseWrite()
			n, _ := io.Copy(io.Discard, c)
			got <- n
		}).tunnelOf(m)
		mustRead(t, s, "bye")
		mustEnd(t, s)
		mustWrite(t, s, strings.Repeat("x", upload))
		_ = s.CloseWrite()
		if n := <-got; n != upload {
			t.Errorf("the origin read %d bytes, want %d", n, upload)
		}
	})
}

// E08, E09: a client that resets, or whose connection is lost, resets the
// origin's connection.
func TestE09EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		got := make(chan error, 1)
		w := terminating(t, m, "", func(c *net.TCPConn) {
			_, _ = io.ReadFull(c, make([]byte, 4))
			_, err := c.Read(make([]byte, 1))
			got <- err
		})
		s := w.tunnelOf(m)
		mustWrite(t, s, "ping")
		s.Reset(codec.CodeCancel, nil)
		if err := <-got; err == nil || err == io.EOF {
			t.Errorf("the origin saw %v, want a reset", err)
		}
	})
}

// An origin that resets is never a clean end.
func TestOriginResetsEveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		s := terminating(t, m, "", func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "last words")
			_, _ = io.ReadFull(c, make([]byte, 4))
			_ = c.SetLinger(0) // Close sends RST
		}).tunnelOf(m)
		mustRead(t, s, "last words")
		mustWrite(t, s, "ping")
		if n, err := s.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
			t.Errorf("read %d bytes, %v; want a reset", n, err)
		}
	})
}

// E11: an idle tunnel, where a time was set, ends by resets.
func TestE11EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		got := make(chan error, 1)
		w := terminating(t, m, "stream_idle_timeout: 0.2s", func(c *net.TCPConn) {
			_, err := c.Read(make([]byte, 1))
			got <- err
		})
		s := w.tunnelOf(m)
		if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the client read %v, want a reset", err)
		}
		if err := <-got; err == nil {
			t.Error("the origin's connection is open still")
		}
		for deadline := time.Now().Add(soon); w.stat("downstream_rq_idle_timeout") != 1; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the time-out is not counted")
			}
		}
	})
}

// E12: a request without a body is a direction that has ended.
func TestE12EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		w := terminating(t, m, "", func(c *net.TCPConn) {
			if n, err := io.Copy(io.Discard, c); n != 0 || err != nil {
				t.Errorf("the origin read %d bytes, %v", n, err)
			}
			_, _ = io.WriteString(c, "still")
		})
		req := asks(m)
		req.EndStream = !m.Raw() // a head of HTTP/1.1 ends no CONNECT
		s := request(t, w.speak(m.Proto), req)
		if res := answered(t, s); res.Status != 200 {
			t.Fatalf("status %d", res.Status)
		}
		_ = s.CloseWrite()
		mustRead(t, s, "still")
		mustEnd(t, s)
	})
}

// E18: trailers end the direction, where there can be any.
func TestE18EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		if m.Raw() {
			return
		}
		s := terminating(t, m, "", echo).tunnelOf(m)
		mustWrite(t, s, "ping")
		if err := s.WriteTrailers(codec.Fields{{Name: "t", Value: "1"}}); err != nil {
			t.Fatal(err)
		}
		mustRead(t, s, "ping")
		mustEnd(t, s)
	})
}

// E21: what cannot be reached is a 503 with Envoy's words.
func TestE21EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := ln.Addr().String()
		_ = ln.Close()
		w := serve(t, with(terminateRoute+","+postRoute, ""), dials(addr), m.Secure)
		s := request(t, w.speak(m.Proto), asks(m))
		if res := answered(t, s); res.Status != 503 {
			t.Errorf("status %d", res.Status)
		}
		body, err := io.ReadAll(s)
		if err != nil || !strings.HasSuffix(string(body), "delayed connect error: Connection refused") {
			t.Errorf("body %q, %v", body, err)
		}
	})
}
