package h1_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/network"
)

// CVE-2021-43826: a client that leaves while its answer is being made ends the
// stream.
func TestFB11ClientThatLeaves(t *testing.T) {
	heads := map[string]string{
		"CONNECT": connectHead,
		"upgrade": "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		"GET":     "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST":    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
	}
	for name, head := range heads {
		for how, leave := range map[string]func(network.Conn){
			"FIN": func(c network.Conn) { _ = c.CloseWrite() },
			"RST": func(c network.Conn) { c.Abort(errTestOver) },
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				waiting := make(chan struct{})
				a, wait := serve(t, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
					if !s.Request().AsksTunnel() && !s.Request().EndStream {
						if _, err := io.ReadAll(s); err != nil {
							t.Error(err)
						}
					}
					ctx := s.Context()
					close(waiting)
					select {
					case <-ctx.Done():
					case <-time.After(testTime):
						t.Error("the stream did not end")
					}
					if cause := context.Cause(ctx); !network.IsReset(cause) {
						t.Errorf("it ended with %v", cause)
					}
					_ = s.Close()
				})
				if _, err := io.WriteString(a, head); err != nil {
					t.Fatal(err)
				}
				<-waiting
				leave(a)
				if wait() == nil {
					t.Error("the connection ended in order")
				}
			})
		}
	}
}

// A client that leaves is noticed too while nobody has read its request yet, and
// again once somebody has.
func TestClientThatLeavesUnread(t *testing.T) {
	for name, body := range map[string]string{"before its body": "", "behind its body": "hi"} {
		t.Run(name, func(t *testing.T) {
			waiting, left := make(chan struct{}), make(chan struct{})
			a, wait := serve(t, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
				ctx := s.Context()
				close(waiting)
				if body != "" {
					if got, err := io.ReadAll(s); string(got) != body || err != nil {
						t.Errorf("read %q, %v", got, err)
					}
				}
				close(left)
				select {
				case <-ctx.Done():
				case <-time.After(testTime):
					t.Error("the stream did not end")
				}
				if cause := context.Cause(ctx); !network.IsReset(cause) {
					t.Errorf("it ended with %v", cause)
				}
				_ = s.Close()
			})
			if _, err := io.WriteString(a, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			<-waiting
			if _, err := io.WriteString(a, body); err != nil {
				t.Fatal(err)
			}
			<-left
			_ = a.CloseWrite()
			if wait() == nil {
				t.Error("the connection ended in order")
			}
		})
	}
}

func TestClientThatHalfCloses(t *testing.T) {
	waiting, left := make(chan struct{}), make(chan struct{})
	a, wait := serve(t, h1.Config{AllowHalfClose: true}, func(_ context.Context, s codec.ServerStream) {
		ctx := s.Context()
		close(waiting)
		<-left
		reply(t, s, 200, "late")
		if err := ctx.Err(); err != nil {
			t.Errorf("the stream ended: %v", context.Cause(ctx))
		}
		_ = s.Close()
	})
	peer := newScript(t, a)
	peer.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-waiting
	_ = a.CloseWrite()
	close(left)
	peer.want("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlate\r\n0\r\n\r\n")
	peer.wantEnd()
	if err := wait(); err != nil {
		t.Error(err)
	}
}

// The next request ends the watch and is not lost by it.
func TestWatchKeepsTheNextRequest(t *testing.T) {
	next := make(chan struct{})
	a, wait := serve(t, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
		ctx := s.Context()
		if s.Request().Path == "/1" {
			<-next
		}
		if err := ctx.Err(); err != nil {
			t.Errorf("%s ended with %v", s.Request().Path, context.Cause(ctx))
		}
		reply(t, s, 204, "")
		_ = s.Close()
	})
	peer := newScript(t, a)
	peer.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
	peer.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
	close(next)
	for range 3 {
		peer.want("HTTP/1.1 204 No Content\r\n\r\n")
	}
	_ = a.CloseWrite()
	peer.wantEnd()
	if err := wait(); err != nil {
		t.Error(err)
	}
}

// The answer may come before the request is read, or instead of reading it.
func TestUnreadRequestBody(t *testing.T) {
	for _, tt := range []struct {
		name  string
		head  string
		body  string
		again bool
	}{
		{"short", "Content-Length: 5\r\n", "hello", true},
		{"short chunks", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", true},
		{"100 not sent, CVE-2024-24791", "Content-Length: 5\r\nExpect: 100-continue\r\n", "", false},
		{"longer than is worth it", "Content-Length: 1000000\r\n", string(make([]byte, 1000000)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, wait := serve(t, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
				reply(t, s, 404, "")
				s.Reset(codec.CodeNoError, errTestOver)
				_ = s.Close()
			})
			peer := newScript(t, a)
			sent := make(chan struct{})
			go func() { // ends when everything is sent, or the connection is over
				defer close(sent)
				_, _ = io.WriteString(a, "POST / HTTP/1.1\r\nHost: a\r\n"+tt.head+"\r\n"+tt.body)
			}()
			if tt.again {
				peer.want("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
				peer.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			}
			close := "Connection: close\r\n"
			if tt.name == "longer than is worth it" {
				close = "" // that is only known later
			}
			peer.want("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n" + close + "\r\n")
			_ = a.Close()
			<-sent
			if err := wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A reader that waits for a body that is not wanted any more is told so.
func TestResetWakesTheReader(t *testing.T) {
	gone := make(chan struct{}) // the body is not wanted any more
	unwanted := sync.OnceFunc(func() { close(gone) })
	a, wait := serve(t, h1.Config{}, func(_ context.Context, s codec.ServerStream) {
		done := make(chan error, 1)
		go func() { // ends by the Reset
			_, err := io.ReadAll(s)
			done <- err
		}()
		reply(t, s, 413, "")
		s.Reset(codec.CodeNoError, errTestOver)
		unwanted()
		if err := <-done; !s.Request().EndStream && !errors.Is(err, errTestOver) {
			t.Errorf("the reader got %v", err)
		}
		_ = s.Close()
	})
	peer := newScript(t, a)
	peer.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
	peer.want("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
	<-gone
	peer.send("lloGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	peer.want("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	_ = a.Close()
	if err := wait(); err != nil {
		t.Error(err)
	}
}
