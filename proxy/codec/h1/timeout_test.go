package h1_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/codectest"
	"culvert/proxy/codec/h1"
	"culvert/proxy/network"
)

// timed serves one end of a connection in memory, within a synctest bubble, and
// returns the other, and when the connection ended, what it had written and why.
func timed(ctx context.Context, cfg h1.Config, h codec.ServerHandler) (peer *codectest.Conn, end func() (time.Duration, string, error)) {
	a, b := codectest.Pair()
	start := time.Now()
	type result struct {
		after time.Duration
		err   error
	}
	done := make(chan result, 1)
	read := make(chan string, 1)
	go func() { // ends with the connection
		out, _ := io.ReadAll(a)
		read <- string(out)
	}()
	go func() { // ends with the connection, awaited by end
		err := h1.ServeConn(ctx, b, cfg, h)
		done <- result{time.Since(start), err}
	}()
	return a, func() (time.Duration, string, error) {
		r := <-done
		return r.after, <-read, r.err
	}
}

func answer204(t *testing.T) codec.ServerHandler {
	return func(_ context.Context, s codec.ServerStream) { reply(t, s, 204, ""); _ = s.Close() }
}

func TestServerTimeouts(t *testing.T) {
	const req = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, tt := range []struct {
		name  string
		cfg   h1.Config
		in    []string // a second apart
		after time.Duration
		out   string // the answers' first words
		err   error
	}{
		{"idle before the first request", h1.Config{IdleTimeout: 5 * time.Second, LingerTimeout: -1}, nil, 5 * time.Second, "", nil},
		{"idle behind a request", h1.Config{IdleTimeout: 5 * time.Second, LingerTimeout: -1}, []string{req}, 5 * time.Second, "HTTP/1.1 204", nil},
		{"each request starts it anew", h1.Config{IdleTimeout: 5 * time.Second, LingerTimeout: -1}, []string{req, req, req}, 7 * time.Second, "HTTP/1.1 204", nil},
		{"head", h1.Config{HeadTimeout: 10 * time.Second, IdleTimeout: 5 * time.Second, LingerTimeout: -1}, []string{"GET"}, 10 * time.Second, "HTTP/1.1 408", h1.ErrHeadTimeout},
		{"dripping head", h1.Config{HeadTimeout: 3 * time.Second, LingerTimeout: -1}, strings.Split(req, ""), 3 * time.Second, "HTTP/1.1 408", h1.ErrHeadTimeout},
		{"the default bounds a head", h1.Config{LingerTimeout: -1}, []string{"GET"}, 30 * time.Second, "HTTP/1.1 408", h1.ErrHeadTimeout},
		{"empty lines are no head", h1.Config{IdleTimeout: 5 * time.Second, HeadTimeout: time.Second, LingerTimeout: -1}, []string{"\r\n"}, 5 * time.Second, "", nil},
		{"linger", h1.Config{LingerTimeout: 2 * time.Second}, []string{"x y\r\n\r\n"}, 2 * time.Second, "HTTP/1.1 400", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer, end := timed(context.Background(), tt.cfg, answer204(t))
				var feeding sync.WaitGroup
				defer feeding.Wait()
				feeding.Go(func() { // ends with the input, or the connection
					for i, s := range tt.in {
						if i > 0 {
							time.Sleep(time.Second)
						}
						if _, err := io.WriteString(peer, s); err != nil {
							return
						}
					}
				})
				after, out, err := end()
				if after != tt.after {
					t.Errorf("it ended after %v, want %v", after, tt.after)
				}
				if tt.err != nil && !errors.Is(err, tt.err) {
					t.Errorf("it ended with %v, want %v", err, tt.err)
				}
				if !strings.HasPrefix(out, tt.out) || (tt.out == "" && len(out) > 0) {
					t.Errorf("answered %q", out)
				}
			})
		})
	}
}

func TestServerDrain(t *testing.T) {
	const req = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	const body = "4\r\nbody\r\n0\r\n\r\n"
	for _, tt := range []struct {
		name  string
		in    string
		work  time.Duration // how long the handler takes; the drain begins after 2 s
		after time.Duration
		out   string
		err   error
	}{
		{"idle", "", 0, 2 * time.Second, "", nil},
		{"between requests", req, 0, 2 * time.Second, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body, nil},
		{"under way", req, 4 * time.Second, 4 * time.Second, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body, nil},
		{"pipelined behind it", req + req, 4 * time.Second, 4 * time.Second, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + body, nil},
		{"too long", req, time.Minute, 12 * time.Second, "", h1.ErrDrainTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				defer cancel()
				peer, end := timed(ctx, h1.Config{DrainTimeout: 10 * time.Second, LingerTimeout: -1}, func(ctx context.Context, s codec.ServerStream) {
					defer s.Close()
					select {
					case <-time.After(tt.work):
					case <-ctx.Done():
						if !errors.Is(context.Cause(s.Context()), h1.ErrDrainTimeout) {
							t.Errorf("the stream ended with %v", context.Cause(s.Context()))
						}
						return
					}
					reply(t, s, 200, "body")
				})
				if _, err := io.WriteString(peer, tt.in); err != nil {
					t.Fatal(err)
				}
				after, out, err := end()
				if after != tt.after || (tt.err == nil && err != nil) || !errors.Is(err, tt.err) {
					t.Errorf("it ended after %v with %v, want %v, %v", after, err, tt.after, tt.err)
				}
				if out != tt.out && tt.err == nil {
					t.Errorf("answered %q, want %q", out, tt.out)
				}
			})
		})
	}
}

// What is only just connected when a drain begins has its first request served:
// it is on its way.
func TestServerDrainOfFreshConnections(t *testing.T) {
	const req = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	const answer = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
	for _, tt := range []struct {
		name  string
		drain time.Duration // when it begins, the connection's beginning being 0
		in    []string
		wait  time.Duration // before each of in
		after time.Duration
		out   string
	}{
		{"before the first request", 100 * time.Millisecond, []string{req + req}, 300 * time.Millisecond, 300 * time.Millisecond, answer},
		{"before the connection", 0, []string{req}, 300 * time.Millisecond, 300 * time.Millisecond, answer},
		{"within the first head", 400 * time.Millisecond, []string{"GET / HTTP/1.1\r\n", "Host: a\r\n\r\n"}, 300 * time.Millisecond, 600 * time.Millisecond, answer},
		{"a head that begins in time", 100 * time.Millisecond, []string{"GET / HTTP/1.1\r\n", "Host: a\r\n\r\n"}, 900 * time.Millisecond, 1800 * time.Millisecond, answer},
		{"an empty line, and no request", 100 * time.Millisecond, []string{"\r\n"}, 300 * time.Millisecond, time.Second, ""},
		{"no request", 100 * time.Millisecond, nil, 0, time.Second, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				if tt.drain == 0 {
					cancel()
				} else {
					defer time.AfterFunc(tt.drain, cancel).Stop()
				}
				peer, end := timed(ctx, h1.Config{DrainTimeout: 10 * time.Second, LingerTimeout: -1}, answer204(t))
				var feeding sync.WaitGroup
				defer feeding.Wait()
				feeding.Go(func() { // ends with the input, or the connection
					for _, s := range tt.in {
						time.Sleep(tt.wait)
						if _, err := io.WriteString(peer, s); err != nil {
							return
						}
					}
				})
				after, out, err := end()
				if after != tt.after || err != nil || out != tt.out {
					t.Errorf("it ended after %v with %v, answered %q, want %v, %q", after, err, out, tt.after, tt.out)
				}
			})
		})
	}
}

func TestMaxRequests(t *testing.T) {
	const req = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	c := feed(req + req + req)
	got, err := collect(t, c, h1.Config{MaxRequests: 2})
	if err != nil || len(got) != 2 || strings.Count(c.written(), "Connection: close") != 1 {
		t.Errorf("%d requests, %v, answered %q", len(got), err, c.written())
	}
}

// idleClient is a client that has had an exchange, within a bubble.
func idleClient(t *testing.T, cfg h1.Config) (cc *h1.ClientConn, peer *codectest.Conn, done chan error) {
	t.Helper()
	a, b := codectest.Pair()
	cc = h1.NewClientConn(a, cfg)
	done = make(chan error, 1)
	go func() { done <- cc.Run(context.Background()) }() // ends as the test says
	s, err := cc.OpenStream(context.Background(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(b, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadResponse(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(s); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if !cc.CanOpen() || cc.ActiveStreams() != 0 {
		t.Fatal("the connection is not free")
	}
	return cc, b, done
}

func TestClientConnEnds(t *testing.T) {
	t.Run("idle timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			cc, _, done := idleClient(t, h1.Config{IdleTimeout: 5 * time.Second})
			if err := <-done; err != nil || time.Since(start) != 5*time.Second || cc.CanOpen() {
				t.Errorf("it ended with %v after %v", err, time.Since(start))
			}
			<-cc.Done()
		})
	})
	t.Run("an exchange is not idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cc, peer, done := idleClient(t, h1.Config{IdleTimeout: 5 * time.Second})
			s, err := cc.OpenStream(context.Background(), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Minute, func() { _, _ = io.WriteString(peer, "HTTP/1.1 204 No Content\r\n\r\n") })
			if res, err := s.ReadResponse(context.Background()); err != nil || res.Status != 204 {
				t.Error(res, err)
			}
			_ = s.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("drain while idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cc, _, done := idleClient(t, h1.Config{})
			cc.Drain()
			if err := <-done; err != nil || cc.CanOpen() {
				t.Error(err)
			}
		})
	})
	t.Run("drain under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cc, peer, done := idleClient(t, h1.Config{})
			s, err := cc.OpenStream(context.Background(), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			cc.Drain()
			_, _ = io.WriteString(peer, "HTTP/1.1 204 No Content\r\n\r\n")
			if _, err := s.ReadResponse(context.Background()); err != nil {
				t.Error(err)
			}
			_ = s.Close()
			if err := <-done; err != nil || cc.CanOpen() {
				t.Error(err)
			}
		})
	})
	t.Run("close under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cc, _, done := idleClient(t, h1.Config{})
			s, err := cc.OpenStream(context.Background(), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Second, func() { cc.Close(errTestOver) })
			if _, err := s.ReadResponse(context.Background()); !errors.Is(err, errTestOver) || network.IsReset(err) {
				t.Errorf("the exchange ended with %v", err)
			}
			if !errors.Is(context.Cause(s.Context()), errTestOver) {
				t.Errorf("the stream ended with %v", context.Cause(s.Context()))
			}
			_ = s.Close()
			<-done
		})
	})
	t.Run("deadline of ReadResponse", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			closed := 0
			cc, _, done := idleClient(t, h1.Config{StreamClosed: func() { closed++ }})
			s, err := cc.OpenStream(context.Background(), get("/"))
			if err != nil {
				t.Fatal(err)
			}
			_ = s.SetReadDeadline(time.Now().Add(time.Second))
			var timeout interface{ Timeout() bool }
			if _, err := s.ReadResponse(context.Background()); !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("got %v", err)
			}
			_ = s.Close() // not whole: the connection is aborted
			_ = s.Close()
			if <-done == nil || closed != 2 || cc.CanOpen() {
				t.Errorf("%d streams were closed", closed)
			}
		})
	})
}
