package h1_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/network"

	"golang.org/x/sys/unix"
)

// sent is what a client writes for req.
func sent(t testing.TB, req *codec.Request, cfg h1.Config) (string, error) {
	t.Helper()
	c := feed()
	s, err := h1.NewClientConn(c, cfg).OpenStream(context.Background(), req)
	if err != nil {
		if c.written() != "" {
			t.Errorf("%q was written beside %v", c.written(), err)
		}
		return "", err
	}
	_ = s.Close()
	return c.written(), nil
}

func TestRequestHeads(t *testing.T) {
	with := func(r *codec.Request, nv ...string) *codec.Request {
		r.Header = fields(nv...)
		return r
	}
	const rest = "Host: example.com\r\n"
	for _, tt := range []struct {
		name string
		req  *codec.Request
		cfg  h1.Config
		want string
	}{
		{"lossless", with(get("/a?b"), "X-b", "1", "x-A", "2", "X-B", "3"), h1.Config{},
			"GET /a?b HTTP/1.1\r\n" + rest + "X-b: 1\r\nx-A: 2\r\nX-B: 3\r\n\r\n"},
		{"lower case", with(get("/"), "X-b", "A"), h1.Config{HeaderCase: h1.LowerCase}, "GET / HTTP/1.1\r\nhost: example.com\r\nx-b: A\r\n\r\n"},
		{"proper case", with(get("/"), "x-bC-d_e", "a"), h1.Config{HeaderCase: h1.ProperCase}, "GET / HTTP/1.1\r\n" + rest + "X-Bc-D_e: a\r\n\r\n"},
		{"Host of Authority first", with(get("/"), "A", "1", "host", "b"), h1.Config{}, "GET / HTTP/1.1\r\n" + rest + "A: 1\r\n\r\n"},
		{"hop-by-hop", with(get("/"), "Connection", "x", "Keep-Alive", "1", "Proxy-Connection", "x", "Transfer-Encoding", "chunked",
			"Upgrade", "h2c", "HTTP2-Settings", "AA", "TE", "gzip"), h1.Config{}, "GET / HTTP/1.1\r\n" + rest + "\r\n"},
		{"te", with(get("/"), "TE", "trailers"), h1.Config{}, "GET / HTTP/1.1\r\n" + rest + "TE: trailers\r\nConnection: TE\r\n\r\n"},
		{"chunked", post(), h1.Config{}, "POST / HTTP/1.1\r\n" + rest + "Transfer-Encoding: chunked\r\n\r\n"},
		{"content-length", with(post(), "content-length", "5"), h1.Config{}, "POST / HTTP/1.1\r\n" + rest + "content-length: 5\r\n\r\n"},
		{"empty POST", &codec.Request{Method: "POST", Authority: "example.com", Path: "/", EndStream: true}, h1.Config{},
			"POST / HTTP/1.1\r\n" + rest + "Content-Length: 0\r\n\r\n"},
		{"asterisk", &codec.Request{Method: "OPTIONS", Authority: "example.com", Path: "*", EndStream: true}, h1.Config{}, "OPTIONS * HTTP/1.1\r\n" + rest + "\r\n"},
		{"absolute-form", &codec.Request{Method: "GET", Scheme: "http", Authority: "example.com", Path: "/a", EndStream: true},
			h1.Config{AbsoluteForm: true}, "GET http://example.com/a HTTP/1.1\r\n" + rest + "\r\n"},
		{"FB40 CONNECT", with(connectTo("example.com:443"), "Content-Length", "0", "Transfer-Encoding", "chunked", "Connection", "close"), h1.Config{}, connectHead},
		{"upgrade", with(upgrade(), "Content-Length", "5"), h1.Config{},
			"GET / HTTP/1.1\r\n" + rest + "Content-Length: 5\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"},
		{"F07 C29 extended CONNECT", &codec.Request{Method: "CONNECT", Scheme: "https", Authority: "example.com", Path: "/chat", HasPath: true, Protocol: "websocket"},
			h1.Config{}, "GET /chat HTTP/1.1\r\n" + rest + "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := sent(t, tt.req, tt.cfg)
			if err != nil || got != tt.want {
				t.Errorf("got %v\n%s\nwant\n%s", err, got, tt.want)
			}
		})
	}
}

// Nothing that another reader could take for more than a head is written.
func TestRequestHeadsThatCannotBeSent(t *testing.T) {
	for name, change := range map[string]func(*codec.Request){
		"method with a space":     func(r *codec.Request) { r.Method = "GET /x" },
		"method in other letters": func(r *codec.Request) { r.Method = "get" },
		"no method":               func(r *codec.Request) { r.Method = "" },
		"path with a space":       func(r *codec.Request) { r.Path = "/a b" },
		"path with CRLF":          func(r *codec.Request) { r.Path = "/\r\nX: y" },
		"path with a fragment":    func(r *codec.Request) { r.Path = "/#a" },
		"no path":                 func(r *codec.Request) { r.Path = "" },
		"no slash":                func(r *codec.Request) { r.Path = "a" },
		"no authority":            func(r *codec.Request) { r.Authority = "" },
		"authority with CRLF":     func(r *codec.Request) { r.Authority = "a\r\nX: y" },
		"authority with a path":   func(r *codec.Request) { r.Authority = "a/b" },
		"name with a space":       func(r *codec.Request) { r.Header = fields("a b", "c") },
		"name with CRLF":          func(r *codec.Request) { r.Header = fields("a\r\nb", "c") },
		"value with CRLF":         func(r *codec.Request) { r.Header = fields("a", "b\r\nc: d") },
		"value with NUL":          func(r *codec.Request) { r.Header = fields("a", "\x00") },
		"CL that is none":         func(r *codec.Request) { r.Header = fields("content-length", "x") },
		"CL twice":                func(r *codec.Request) { r.Header = fields("content-length", "0", "Content-Length", "0") },
		"CL of a body not there":  func(r *codec.Request) { r.Header = fields("content-length", "5") },
		"CONNECT without a port":  func(r *codec.Request) { r.Method = "CONNECT" },
		"protocol with CRLF":      func(r *codec.Request) { r.Protocol = "a\r\nX: y" },
	} {
		t.Run(name, func(t *testing.T) {
			r := get("/")
			change(r)
			if got, err := sent(t, r, h1.Config{}); err == nil {
				t.Errorf("sent %q", got)
			}
		})
	}
}

// netHTTPServer is net/http's server, and a client of ours on one connection
// to it.
func netHTTPServer(t *testing.T, h http.HandlerFunc) *h1.ClientConn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }() // ends by Close
	t.Cleanup(func() { _ = srv.Close(); <-done })
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cc, _ := client(t, socket(t, nc), h1.Config{})
	return cc
}

func TestClientKeepsAliveWithNetHTTP(t *testing.T) {
	cc := netHTTPServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Trailer")
		w.Header().Set("X-Path", r.URL.String())
		if r.URL.Path == "/hints" {
			w.WriteHeader(http.StatusEarlyHints)
		}
		body, err := io.ReadAll(r.Body) // net/http is not full duplex
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(body)
		w.Header().Set("X-Trailer", r.Trailer.Get("X-Sent"))
	})
	for i := range 8 {
		body := strings.Repeat("x", i*50_000)
		req := post()
		req.Path = fmt.Sprintf("/%d?q", i)
		if i == 7 {
			req.Path = "/hints"
		}
		req.Header = fields("Trailer", "X-Sent")
		s, err := cc.OpenStream(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() { // ends with the body
			_, err := io.WriteString(s, body)
			sent <- errors.Join(err, s.WriteTrailers(fields("X-Sent", "sent", "Content-Length", "5")))
		}()
		res, err := s.ReadResponse(context.Background())
		if err == nil && res.Status == 103 && i == 7 {
			res, err = s.ReadResponse(context.Background())
		}
		if err != nil || res.Status != 200 || res.Header.Get("x-path") != req.Path {
			t.Fatalf("%d: %+v, %v", i, res, err)
		}
		got, err := io.ReadAll(s)
		if err != nil || string(got) != body || s.Trailers().Get("x-trailer") != "sent" {
			t.Fatalf("%d: %d bytes, %v, trailers %v; want %d bytes", i, len(got), err, s.Trailers(), len(body))
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		if !cc.Reusable() || !errors.Is(context.Cause(s.Context()), codec.ErrEnded) {
			t.Fatalf("%d: reusable %v, ended with %v", i, cc.Reusable(), context.Cause(s.Context()))
		}
	}
}

// What comes while nobody asked ends the connection; so does the server.
func TestIdleConnectionEnds(t *testing.T) {
	for name, act := range map[string]func(peer *script){
		"unasked bytes": func(peer *script) { peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") },
		"FIN":           func(peer *script) { _ = peer.CloseWrite() },
		"RST":           func(peer *script) { peer.Abort(errTestOver) },
	} {
		for _, first := range []bool{true, false} { // C19: before any request, too
			t.Run(fmt.Sprintf("%s/first %v", name, first), func(t *testing.T) {
				a, b := socketPair(t)
				cc, wait := client(t, a, h1.Config{})
				peer := newScript(t, b)
				if !first {
					s, err := cc.OpenStream(context.Background(), get("/"))
					if err != nil {
						t.Fatal(err)
					}
					peer.head()
					peer.send("HTTP/1.1 204 No Content\r\n\r\n")
					if _, err := s.ReadResponse(context.Background()); err != nil {
						t.Fatal(err)
					}
					_ = s.Close()
					if !cc.Reusable() {
						t.Fatal("not reusable")
					}
				}
				act(peer)
				err := wait()
				if (name == "FIN") != (err == nil) || (name == "unasked bytes") != errors.Is(err, h1.ErrUnasked) {
					t.Errorf("the connection ended with %v", err)
				}
				if _, err := cc.OpenStream(context.Background(), get("/")); !errors.Is(err, codec.ErrNotProcessed) {
					t.Errorf("a request after it: %v", err)
				}
			})
		}
	}
}

// Without anybody watching, the next request still finds a stale connection.
func TestStaleConnectionIsFoundBeforeTheRequest(t *testing.T) {
	a, b := socketPair(t)
	cc := h1.NewClientConn(a, h1.Config{})
	peer := newScript(t, b)
	peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	waitReadable(t, a)
	if _, err := cc.OpenStream(context.Background(), get("/")); !errors.Is(err, h1.ErrConnClosed) {
		t.Errorf("the request went out: %v", err)
	}
}

// waitReadable waits until something has arrived at c, which a Relay could read.
func waitReadable(t *testing.T, c network.Conn) {
	t.Helper()
	sock := c.(*network.Socket)
	raw, err := sock.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return !errors.Is(err, unix.EAGAIN)
	}); err != nil {
		t.Fatal(err)
	}
}

// A reused connection that the server had given up says that the request may
// be sent again, if it may.
func TestLostBeforeTheAnswer(t *testing.T) {
	for _, tt := range []struct {
		name  string
		req   *codec.Request
		again bool
	}{
		{"GET", get("/2"), true},
		{"POST", post(), false},
		{"POST of a tunnel", repeatable(post()), true},
		{"CONNECT", connectTo("a:1"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := socketPair(t)
			cc, _ := client(t, a, h1.Config{})
			peer := newScript(t, b)
			for i, req := range []*codec.Request{get("/1"), tt.req} {
				s, err := cc.OpenStream(context.Background(), req)
				if err != nil {
					t.Fatal(err)
				}
				peer.head()
				if i == 0 {
					peer.send("HTTP/1.1 204 No Content\r\n\r\n")
				} else {
					_ = b.CloseWrite()
				}
				_, err = s.ReadResponse(context.Background())
				if i == 1 && (!errors.Is(err, h1.ErrTruncated) || !network.IsReset(err) || errors.Is(err, codec.ErrNotProcessed) != tt.again) {
					t.Errorf("no answer: %v", err)
				}
				_ = s.Close()
			}
		})
	}
}

func repeatable(r *codec.Request) *codec.Request {
	r.Repeatable = true
	return r
}

func TestReadResponseGoesOnAfterItWasInterrupted(t *testing.T) {
	a, b := socketPair(t)
	cc, _ := client(t, a, h1.Config{})
	peer := newScript(t, b)
	s, err := cc.OpenStream(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	peer.head()
	peer.send("HTTP/1.1 200 O")
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(20*time.Millisecond, func() { cancel(errTestOver) })
	if _, err := s.ReadResponse(ctx); !errors.Is(err, errTestOver) {
		t.Fatalf("interrupted: %v", err)
	}
	peer.send("K\r\nContent-Length: 2\r\n\r\nhi")
	res, err := s.ReadResponse(context.Background())
	if err != nil || res.Status != 200 {
		t.Fatal(res, err)
	}
	if got, err := io.ReadAll(s); err != nil || string(got) != "hi" {
		t.Errorf("body %q, %v", got, err)
	}
}

// A deadline that passes within a chunk line or a trailer loses nothing.
func TestReadGoesOnAfterADeadline(t *testing.T) {
	const body = "1\r\na\r\n2;ext\r\nbc\r\n0\r\nT: 1\r\n\r\n"
	const resHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for cut := range len(body) {
		c := &stallConn{feedConn: feed(resHead, body[:cut], stall, body[cut:])}
		if cut == 0 {
			c = &stallConn{feedConn: feed(resHead, stall, body)}
		}
		s, err := h1.NewClientConn(c, h1.Config{}).OpenStream(context.Background(), get("/"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.ReadResponse(context.Background()); err != nil {
			t.Fatal(err)
		}
		var got []byte
		missed := 0
		for {
			b, err := io.ReadAll(s)
			got = append(got, b...)
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() && missed == 0 {
				missed++
				continue
			}
			if err != nil || missed != 1 {
				t.Fatalf("cut %d: %v, %d deadlines missed", cut, err, missed)
			}
			break
		}
		if string(got) != "abc" || s.Trailers().Get("t") != "1" {
			t.Errorf("cut %d: body %q, trailers %v", cut, got, s.Trailers())
		}
		_ = s.Close()
	}
}

// An answer before the request was sent whole is an answer; the connection is
// not used again, and a body that does not fit its head is broken off.
func TestRequestsThatAreNotSentWhole(t *testing.T) {
	for _, tt := range []struct {
		name   string
		length string
		body   string
		end    bool
		err    bool // what is written cannot be whole
	}{
		{"answered early", "", "part", false, false},
		{"too short", "5", "part", true, true},
		{"too long", "2", "part", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := socketPair(t)
			cc, wait := client(t, a, h1.Config{})
			req := post()
			if tt.length != "" {
				req.Header = fields("Content-Length", tt.length)
			}
			s, err := cc.OpenStream(context.Background(), req)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.WriteString(s, tt.body)
			if tt.end && err == nil {
				err = s.CloseWrite()
			}
			if (err != nil) != tt.err {
				t.Errorf("writing: %v", err)
			}
			if !tt.err {
				peer := newScript(t, b)
				peer.head()
				peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
				if res, err := s.ReadResponse(context.Background()); err != nil || res.Status != 413 {
					t.Error(res, err)
				}
			}
			_ = s.Close()
			if cc.Reusable() {
				t.Error("the connection may be used again")
			}
			_ = wait()
			if _, err := io.ReadAll(b); !network.IsReset(err) {
				t.Errorf("the server read %v, want a reset", err)
			}
		})
	}
}
