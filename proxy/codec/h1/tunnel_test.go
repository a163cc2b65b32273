package h1_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/codec/codectest"
	"culvert/proxy/codec/h1"
	"culvert/proxy/network"
)

const connectHead = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"

// tunnelConn is what a stream gives to whoever moves its payload.
func tunnelConn(t testing.TB, s codec.Stream) network.Conn {
	t.Helper()
	c := s.(interface{ TunnelConn() network.Conn }).TunnelConn()
	if c == nil {
		t.Fatal("no tunnel")
	}
	return c
}

// What came with the head is payload, comes first, and is nobody's before the
// answer.
func TestC08F02F08FB01PayloadBehindTheHead(t *testing.T) {
	a, wait := serve(t, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
		defer s.Close()
		if early := s.(interface{ EarlyData() bool }).EarlyData(); !early {
			t.Error("the early data is not seen")
		}
		if n, err := s.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("read %d bytes, %v before the answer", n, err)
		}
		if _, err := s.Write([]byte("x")); err == nil {
			t.Error("wrote before the answer")
		}
		if err := s.WriteResponse(&codec.Response{Status: 200, Header: fields("Content-Length", "5", "Transfer-Encoding", "chunked", "X", "1")}); err != nil {
			t.Error(err)
		}
		body, err := io.ReadAll(s)
		if err != nil {
			t.Error(err)
		}
		// The client has ended its direction; ours goes on.
		if _, err := s.Write(bytes.ToUpper(body)); err != nil {
			t.Error(err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Error(err)
		}
		<-s.Context().Done()
		if cause := context.Cause(s.Context()); !errors.Is(cause, codec.ErrEnded) {
			t.Errorf("the stream ended with %v", cause)
		}
	})
	peer := newScript(t, a)
	peer.send(connectHead + "get / http/1.1\r\n\r\n")
	peer.want("HTTP/1.1 200 OK\r\nX: 1\r\n\r\n")
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	peer.want("GET / HTTP/1.1\r\n\r\n")
	peer.wantEnd()
	if err := wait(); err != nil {
		t.Error(err)
	}
}

// RFC 9931: a refusal closes the connection; what the client has sent meanwhile is
// read by nobody and does not reset the answer away.
func TestFB02FB47ServerRefusesATunnel(t *testing.T) {
	for name, head := range map[string]string{
		"CONNECT": connectHead,
		"upgrade": "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			a, wait := serve(t, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
				calls++
				reply(t, s, 403, "no")
				if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("read %d bytes, %v of a refused tunnel", n, err)
				}
				s.Reset(codec.CodeNoError, errTestOver)
				_ = s.Close()
			})
			peer := newScript(t, a)
			peer.send(head + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n" + strings.Repeat("early", 20_000))
			peer.want("HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nno\r\n0\r\n\r\n")
			peer.wantEnd()
			_ = a.Close()
			if err := wait(); err != nil {
				t.Error(err)
			}
			if calls != 1 {
				t.Errorf("%d requests were served", calls)
			}
		})
	}
}

// Only a 101 to an upgrade switches.
func TestC11FB44FB45ServerUpgrade(t *testing.T) {
	const head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: a, b\r\n\r\n"
	for _, tt := range []struct {
		name string
		res  *codec.Response
		want string
	}{
		{"101", &codec.Response{Status: 101, Protocol: "b", Header: fields("Upgrade", "x", "Content-Length", "3", "Y", "1")},
			"HTTP/1.1 101 Switching Protocols\r\nY: 1\r\nUpgrade: b\r\nConnection: upgrade\r\n\r\nraw"},
		{"101 names what was asked for", &codec.Response{Status: 101},
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a, b\r\nConnection: upgrade\r\n\r\nraw"},
		{"CVE-2024-23326 200 is plain", &codec.Response{Status: 200, Header: fields("Upgrade", "x", "Content-Length", "3")},
			"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nraw"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, wait := serve(t, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
				defer s.Close()
				if err := s.WriteResponse(tt.res); err != nil {
					t.Error(err)
				}
				if _, err := io.WriteString(s, "raw"); err != nil {
					t.Error(err)
				}
				if err := s.CloseWrite(); err != nil {
					t.Error(err)
				}
				_, _ = io.ReadAll(s)
			})
			peer := newScript(t, a)
			peer.send(head)
			peer.want(tt.want)
			peer.wantEnd()
			_ = a.CloseWrite()
			_ = wait()
		})
	}
}

func TestServerCannotSwitchUnasked(t *testing.T) {
	for _, in := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", connectHead} {
		c := feed(in)
		_ = h1.ServeConn(context.Background(), c, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
			if err := s.WriteResponse(&codec.Response{Status: 101}); err == nil {
				t.Errorf("101 was sent to %q", in)
			}
			reply(t, s, 400, "")
		})
	}
}

// A tunnel's Conn is the connection itself, if nothing of it was read ahead.
func TestTunnelConn(t *testing.T) {
	for _, early := range []string{"", "early"} {
		t.Run("early "+early, func(t *testing.T) {
			a, wait := serve(t, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
				defer s.Close()
				ctx := s.Context() // starts a watcher, which must get out of the way
				if s.(interface{ TunnelConn() network.Conn }).TunnelConn() != nil {
					t.Error("a tunnel before the answer")
				}
				if err := s.WriteResponse(&codec.Response{Status: 200}); err != nil {
					t.Error(err)
				}
				c := tunnelConn(t, s)
				u, bare := c.(network.Unwrapper)
				if bare != (early == "") {
					t.Errorf("unwraps: %v", bare)
				}
				if bare {
					if _, ok := u.Unwrap().(*network.Socket); !ok {
						t.Errorf("beneath is %T", u.Unwrap())
					}
				}
				down, up := codectest.Pair()
				done := make(chan struct{})
				go func() { // ends with the relay
					defer close(done)
					got, err := io.ReadAll(up)
					if err != nil || string(got) != early+"hello" {
						t.Errorf("payload %q, %v", got, err)
					}
					_, _ = up.Write([]byte("answer"))
					_ = up.CloseWrite()
				}()
				r := network.Relay(context.Background(), c, down, network.RelayOptions{Meter: new(network.Meter)})
				<-done
				if r.Err != nil || r.Downstream != network.EndFIN || r.Upstream != network.EndFIN {
					t.Errorf("relay ended %+v", r)
				}
				<-ctx.Done()
			})
			peer := newScript(t, a)
			peer.send(connectHead + early)
			peer.want("HTTP/1.1 200 OK\r\n\r\n")
			peer.send("hello")
			_ = a.CloseWrite()
			peer.want("answer")
			peer.wantEnd()
			if err := wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A reset is a reset, from either side, on either kind of Conn.
func TestTunnelReset(t *testing.T) {
	for _, early := range []string{"", "early"} {
		t.Run("by the client, early "+early, func(t *testing.T) {
			a, wait := serve(t, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
				defer s.Close()
				_ = s.WriteResponse(&codec.Response{Status: 200})
				c := tunnelConn(t, s)
				got, err := io.ReadAll(c)
				if !network.IsReset(err) || !strings.HasPrefix("early"+"x", string(got)) {
					t.Errorf("read %q, %v", got, err)
				}
				c.Abort(err)
				<-s.Context().Done()
			})
			peer := newScript(t, a)
			peer.send(connectHead + early)
			peer.want("HTTP/1.1 200 OK\r\n\r\n")
			a.Abort(errTestOver)
			_ = wait()
		})
	}
	t.Run("by the server", func(t *testing.T) {
		a, wait := serve(t, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
			_ = s.WriteResponse(&codec.Response{Status: 200})
			s.Reset(codec.CodeConnect, errTestOver)
			if _, err := s.Read(make([]byte, 1)); !errors.Is(err, errTestOver) {
				t.Errorf("read %v after the reset", err)
			}
			if _, err := s.Write([]byte("x")); !errors.Is(err, errTestOver) {
				t.Errorf("write %v after the reset", err)
			}
			_ = s.Close()
		})
		peer := newScript(t, a)
		peer.send(connectHead)
		peer.head()
		if _, err := io.ReadAll(peer.r); !network.IsReset(err) {
			t.Errorf("the client read %v, want a reset", err)
		}
		if err := wait(); !errors.Is(err, errTestOver) {
			t.Errorf("the connection ended with %v", err)
		}
	})
}

// A handler that leaves its tunnel open has it reset.
func TestHandlerThatReturnsEarly(t *testing.T) {
	a, wait := serve(t, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
		_ = s.WriteResponse(&codec.Response{Status: 200})
	})
	peer := newScript(t, a)
	peer.send(connectHead)
	peer.want("HTTP/1.1 200 OK\r\n\r\n")
	if _, err := io.ReadAll(peer.r); !network.IsReset(err) {
		t.Errorf("the client read %v, want a reset", err)
	}
	if wait() == nil {
		t.Error("the connection ended in order")
	}
}

// The client's side of a tunnel.
func TestG29FB01FB23ClientTunnel(t *testing.T) {
	a, b := socketPair(t)
	cc, wait := client(t, a, h1.Config{})
	done := make(chan struct{})
	go func() { // ends with the script
		defer close(done)
		peer := newScript(t, b)
		if got := peer.head(); got != "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nX: 1\r\n\r\n" {
			t.Errorf("the head is %q", got)
		}
		if n := peer.r.Buffered(); n != 0 {
			t.Errorf("%d bytes came before the answer", n)
		}
		peer.send("HTTP/1.1 200 OK\r\n\r\nfirst")
		peer.want("hello")
		peer.wantEnd()
		peer.send("last")
		_ = b.CloseWrite()
	}()
	req := connectTo("example.com:443")
	req.Header = fields("Content-Length", "0", "Transfer-Encoding", "chunked", "Connection", "close", "X", "1")
	s, err := cc.OpenStream(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("early")); err == nil {
		t.Error("wrote before the answer")
	}
	if err := s.CloseWrite(); err == nil {
		t.Error("ended before the answer")
	}
	if res, err := s.ReadResponse(context.Background()); err != nil || res.Status != 200 {
		t.Fatal(res, err)
	}
	if _, err := cc.OpenStream(context.Background(), get("/")); !errors.Is(err, h1.ErrBusy) || !errors.Is(err, codec.ErrNotProcessed) {
		t.Errorf("a second exchange: %v", err)
	}
	c := tunnelConn(t, s)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Error(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "firstlast" {
		t.Errorf("read %q, %v", got, err)
	}
	<-done
	_ = c.Close()
	_ = s.Close()
	if cc.Reusable() {
		t.Error("the connection of a tunnel may be used again")
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
}
