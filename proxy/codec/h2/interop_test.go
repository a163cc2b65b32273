package h2_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"

	"golang.org/x/net/http2"
)

// The HTTP/2 of x/net and of net/http as the other side: what they take from
// us and give to us.

// serveLoopback serves h on a loopback port until the test is over.
func serveLoopback(t testing.TB, h codec.ServerHandler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s, err := network.NewSocket(c)
			if err != nil {
				t.Error(err)
				return
			}
			wg.Go(func() { _ = h2.ServeConn(ctx, s, h2.Config{}, h) }) // ends by its drain
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

func xnetTransport() *http2.Transport {
	return &http2.Transport{
		AllowHTTP: true,
		DialTLSContext: func(ctx context.Context, _, addr string, _ *tls.Config) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
	}
}

func netHTTPTransport() *http.Transport {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return &http.Transport{Protocols: p, DisableCompression: true}
}

func TestClientsOfOthers(t *testing.T) {
	x, n := xnetTransport(), netHTTPTransport()
	for name, rt := range map[string]http.RoundTripper{"x/net": x, "net/http": n} {
		t.Run(name, func(t *testing.T) {
			addr := serveLoopback(t, func(_ context.Context, s codec.ServerStream) {
				req := s.Request()
				_ = s.WriteResponse(&codec.Response{Status: 103, Header: codec.Fields{{Name: "link", Value: "x"}}})
				_ = s.WriteResponse(&codec.Response{Status: 200, Header: codec.Fields{
					{Name: "x-path", Value: req.Path}, {Name: "x-method", Value: req.Method}, {Name: "trailer", Value: "x-sum"},
				}})
				_, _ = io.Copy(s, s)
				_ = s.WriteTrailers(codec.Fields{{Name: "x-sum", Value: "1"}})
			})
			t.Cleanup(func() { x.CloseIdleConnections(); n.CloseIdleConnections() })
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					body := random(uint64(i), 1<<20+i)
					req, _ := http.NewRequest("POST", "http://"+addr+"/a%2fb?c=d", bytes.NewReader(body))
					res, err := rt.RoundTrip(req)
					if err != nil {
						t.Error(err)
						return
					}
					defer res.Body.Close()
					got, err := io.ReadAll(res.Body)
					if err != nil || !bytes.Equal(got, body) {
						t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
					}
					if res.Header.Get("x-path") != "/a%2fb?c=d" || res.Trailer.Get("x-sum") != "1" {
						t.Errorf("%v %v", res.Header, res.Trailer)
					}
				})
			}
			wg.Wait()
		})
	}
}

// The golden half-closes of a CONNECT, with the client of x/net: the server
// ends first and the upload goes on; and the reverse.
func TestHalfCloseWithTheClientOfOthers(t *testing.T) {
	late := random(5, 3<<20)
	got := make(chan []byte, 1)
	addr := serveLoopback(t, func(_ context.Context, s codec.ServerStream) {
		_ = s.WriteResponse(&codec.Response{Status: 200})
		if s.Request().Authority == "server.first:1" {
			_, _ = io.WriteString(s, "bye")
			_ = s.CloseWrite()
			b, err := io.ReadAll(s)
			if err != nil {
				t.Errorf("late upload: %v", err)
			}
			got <- b
			return
		}
		_, _ = io.Copy(io.Discard, s)
		_, _ = s.Write(late)
		_ = s.CloseWrite()
	})
	rt := xnetTransport()
	defer rt.CloseIdleConnections()
	connect := func(authority string) (*http.Response, *io.PipeWriter) {
		pr, pw := io.Pipe()
		req, _ := http.NewRequest("CONNECT", "http://"+addr, pr)
		req.Host = authority
		res, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		return res, pw
	}
	res, pw := connect("server.first:1")
	expectRead(t, res.Body, []byte("bye"))
	expectEOF(t, res.Body)
	write(t, pw, late)
	_ = pw.Close()

	res, pw = connect("client.first:1")
	_ = pw.Close()
	expectRead(t, res.Body, late)
	expectEOF(t, res.Body)
	if b := next(t, got); !bytes.Equal(b, late) {
		t.Errorf("%d late bytes of %d arrived", len(b), len(late))
	}
}

// The reset codes as the client of x/net sees them.
func TestResetCodesWithTheClientOfOthers(t *testing.T) {
	addr := serveLoopback(t, func(_ context.Context, s codec.ServerStream) {
		_ = s.WriteResponse(&codec.Response{Status: 200})
		s.Reset(codec.CodeConnect, errors.New("origin sent RST"))
	})
	rt := xnetTransport()
	defer rt.CloseIdleConnections()
	req, _ := http.NewRequest("CONNECT", "http://"+addr, http.NoBody)
	res, err := rt.RoundTrip(req)
	if err == nil {
		_, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
	}
	var se http2.StreamError
	if !errors.As(err, &se) || se.Code != http2.ErrCodeConnect {
		t.Errorf("got %v", err)
	}
}

// others starts the HTTP/2 servers of x/net and of net/http on loopback.
func others(t *testing.T, h http.Handler) map[string]string {
	t.Helper()
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	std := httptest.NewUnstartedServer(h)
	std.Config.Protocols = p
	std.Start()
	t.Cleanup(std.Close)

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { new(http2.Server).ServeConn(c, &http2.ServeConnOpts{Handler: h}) }) // ends with its client
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return map[string]string{"net/http": std.Listener.Addr().String(), "x/net": ln.Addr().String()}
}

func dial(t testing.TB, addr string) *h2.ClientConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return client(t, socket(t, c), h2.Config{})
}

func TestServersOfOthers(t *testing.T) {
	servers := others(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-Host", r.Host)
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		_, _ = io.Copy(flusher{w}, r.Body)
		w.Header().Set("X-Sum", "1")
		if strings.HasSuffix(r.URL.Path, "/abort") {
			panic(http.ErrAbortHandler)
		}
	}))
	for name, addr := range servers {
		t.Run(name, func(t *testing.T) {
			cc := dial(t, addr)
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					st, err := cc.OpenStream(context.Background(), &codec.Request{Method: "POST", Scheme: "http", Path: "/", Authority: "a.example"})
					if err != nil {
						t.Error(err)
						return
					}
					defer st.Close()
					for _, want := range []int{103, 200} {
						res, err := st.ReadResponse(context.Background())
						if err != nil || res.Status != want || (want == 200 && res.Header.Get("x-host") != "a.example") {
							t.Errorf("%+v, %v", res, err)
							return
						}
					}
					body := random(uint64(i), 1<<20+i)
					wg.Go(func() {
						write(t, st, body)
						_ = st.CloseWrite()
					})
					expectRead(t, st, body)
					expectEOF(t, st)
					if got := st.Trailers().Get("x-sum"); got != "1" {
						t.Errorf("trailer %q", got)
					}
				})
			}
			wg.Wait()
			st, err := cc.OpenStream(context.Background(), &codec.Request{Method: "GET", Scheme: "http", Path: "/abort", Authority: "a", EndStream: true})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			if re := expectReset(t, st); re.Code != uint64(http2.ErrCodeInternal) {
				t.Errorf("code %d", re.Code)
			}
		})
	}
}

type flusher struct{ http.ResponseWriter }

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	f.ResponseWriter.(http.Flusher).Flush()
	return n, err
}

// net/http's Shutdown sends one GOAWAY; the stream that is open finishes.
func TestShutdownOfTheServerOfOthers(t *testing.T) {
	release := make(chan struct{})
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		<-release
		_, _ = io.WriteString(w, "finished")
	}))
	srv.Config.Protocols = p
	srv.Start()
	defer srv.Close()
	cc := dial(t, srv.Listener.Addr().String())
	st := fetch(t, cc)
	if _, err := st.ReadResponse(context.Background()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Config.Shutdown(context.Background()) }) // ends with the stream
	for cc.CanOpen() {
		if _, err := cc.OpenStream(context.Background(), get()); err != nil && !errors.Is(err, codec.ErrNotProcessed) {
			t.Fatal(err)
		}
	}
	close(release)
	expectRead(t, st, []byte("finished"))
	expectEOF(t, st)
	wg.Wait()
	<-cc.Done()
}
