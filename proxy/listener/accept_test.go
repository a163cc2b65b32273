package listener

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/network"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// serve runs a listener with one handler on a loopback socket until the test
// ends.
func serve(t *testing.T, h network.HandlerFunc, change func(*Listener)) (addr string, l *Listener) {
	t.Helper()
	l, err := New(&listenerv3.Listener{Name: "l", Address: socketAddress("127.0.0.1", 0),
		FilterChains: []*listenerv3.FilterChain{chainOf("c", nil)}}, testDeps(handlers{"f": h}))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(l)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Serve(ctx, ln) }() // ends when ctx does, below
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ln.Addr().String(), l
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c.(*net.TCPConn)
}

func TestServeAcceptsAndEchoes(t *testing.T) {
	addr, l := serve(t, func(ctx context.Context, f network.Flow) error {
		c, err := f.Accept(ctx)
		if err != nil {
			return err
		}
		_, _ = network.CopyStream(c, c)
		return errors.Join(c.CloseWrite(), c.Close())
	}, nil)
	c := dial(t, addr)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	if l.deps.Flows.NextID() < 2 {
		t.Error("the connection has no number")
	}
}

// A refusal of a kernel connection is RST.
func TestServeReject(t *testing.T) {
	connected := make(chan struct{}) // else the reset may be the answer to connect itself
	addr, l := serve(t, func(_ context.Context, f network.Flow) error {
		<-connected
		f.Reject(network.WithReason(network.ReasonConnectionRefused, nil))
		if _, err := f.Accept(context.Background()); err == nil {
			t.Error("accepted after a refusal")
		}
		return nil
	}, nil)
	c := dial(t, addr)
	close(connected)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	for len(l.deps.Flows.Ended()) == 0 {
		time.Sleep(time.Millisecond) // the flow ends just behind its RST
	}
	if v := l.deps.Flows.Ended()[0].Snapshot().Verdict; v != "refused" {
		t.Errorf("verdict %q", v)
	}
}

// A handler that forgets its flow leaves no socket behind.
func TestServeForgottenFlow(t *testing.T) {
	connected := make(chan struct{})
	addr, _ := serve(t, func(context.Context, network.Flow) error { <-connected; return nil }, nil)
	c := dial(t, addr)
	close(connected)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

// FB11: the peer resets while nobody has answered it yet, whether or not it had
// sent something; one that only ended its direction is still served.
func TestFB11PeerGoneWhileConnecting(t *testing.T) {
	tests := []struct {
		name string
		peer func(*net.TCPConn)
		gone bool
	}{
		{"reset", func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }, true},
		{"bytes, then reset", func(c *net.TCPConn) {
			_, _ = c.Write([]byte("early"))
			_ = c.SetLinger(0)
			_ = c.Close()
		}, true},
		{"half-close", func(c *net.TCPConn) { _ = c.CloseWrite() }, false},
		{"bytes, then half-close", func(c *net.TCPConn) { _, _ = c.Write([]byte("early")); _ = c.CloseWrite() }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			waiting := make(chan struct{})
			result := make(chan error, 1)
			addr, _ := serve(t, func(ctx context.Context, f network.Flow) error {
				done := f.Context().Done()
				close(waiting)
				wait := time.Minute
				if !tt.gone {
					wait = 200 * time.Millisecond // long enough to see that nothing happens
				}
				select {
				case <-done:
					result <- context.Cause(f.Context())
				case <-time.After(wait):
					result <- nil
				}
				c, err := f.Accept(ctx)
				if tt.gone {
					if err == nil {
						t.Error("accepted a peer that is gone")
					}
					return err
				}
				if err != nil {
					t.Errorf("accept: %v", err)
					return err
				}
				_, err = c.Write([]byte("answer"))
				return errors.Join(err, c.Close())
			}, nil)
			c := dial(t, addr)
			<-waiting
			tt.peer(c)
			err := <-result
			if tt.gone {
				if network.ReasonFor(err) != network.ReasonCanceled {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Errorf("took it for gone: %v", err)
			}
			b := make([]byte, 6)
			if _, err := io.ReadFull(c, b); err != nil || string(b) != "answer" {
				t.Errorf("read %q, %v", b, err)
			}
		})
	}
}

// After the answer the watcher is gone: nothing it saw or set disturbs reading.
func TestAcceptAfterWatch(t *testing.T) {
	addr, _ := serve(t, func(ctx context.Context, f network.Flow) error {
		_ = f.Context()
		c, err := f.Accept(ctx)
		if err != nil {
			return err
		}
		_, _ = network.CopyStream(c, c)
		return errors.Join(c.CloseWrite(), c.Close())
	}, nil)
	for range 20 {
		c := dial(t, addr)
		_, _ = c.Write([]byte("x"))
		_ = c.CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "x" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
}

func TestConnectionLimit(t *testing.T) {
	var admitted atomic.Int32
	addr, l := serve(t, func(ctx context.Context, f network.Flow) error {
		c, err := f.Accept(ctx)
		if err != nil {
			return err
		}
		_, _ = c.Write([]byte("in"))
		_, _ = network.CopyStream(c, c)
		return c.Close()
	}, func(l *Listener) {
		l.deps.Admit = func() (func(), bool) {
			if admitted.Add(1) > 1 {
				admitted.Add(-1)
				return nil, false
			}
			return func() { admitted.Add(-1) }, true
		}
	})
	first := dial(t, addr)
	if _, err := io.ReadFull(first, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, addr).Read(make([]byte, 1)); err == nil {
		t.Error("a connection beyond the limit was served")
	}
	if v := l.n.overflow.Value(); v != 1 {
		t.Errorf("overflow %d", v)
	}
}

// While memory is short connections are closed, and counted as that.
func TestOverload(t *testing.T) {
	var short atomic.Bool
	addr, l := serve(t, func(ctx context.Context, f network.Flow) error {
		c, err := f.Accept(ctx)
		if err != nil {
			return err
		}
		_, _ = c.Write([]byte("in"))
		return c.Close()
	}, func(l *Listener) {
		l.deps.Await = func(context.Context) error {
			if short.Load() {
				return network.ErrOverload
			}
			return nil
		}
	})
	short.Store(true)
	if _, err := dial(t, addr).Read(make([]byte, 1)); err == nil {
		t.Error("a connection was served")
	}
	if v := l.n.overloaded.Value(); v != 1 {
		t.Errorf("overload_reject %d", v)
	}
	short.Store(false)
	if _, err := io.ReadFull(dial(t, addr), make([]byte, 2)); err != nil {
		t.Error(err)
	}
}

// Closing the socket drains: what is open goes on, and Serve waits for it.
func TestServeDrains(t *testing.T) {
	l, err := New(&listenerv3.Listener{Name: "l", Address: socketAddress("127.0.0.1", 0),
		FilterChains: []*listenerv3.FilterChain{chainOf("c", nil)}}, testDeps(handlers{"f": func(ctx context.Context, f network.Flow) error {
		c, err := f.Accept(ctx)
		if err != nil {
			return err
		}
		_, _ = c.Write([]byte("up"))
		_, _ = network.CopyStream(c, c)
		return errors.Join(c.CloseWrite(), c.Close())
	}}))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Serve(context.Background(), ln) }() // ends with its socket and its connection
	c := dial(t, ln.Addr().String())
	if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if _, err := c.Write([]byte("still")); err != nil {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "still" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// scriptedListener fails as it is told, then waits to be closed.
type scriptedListener struct {
	errs   []error
	at     []time.Time
	closed chan struct{}
}

func (s *scriptedListener) Accept() (net.Conn, error) {
	s.at = append(s.at, time.Now())
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return nil, &net.OpError{Op: "accept", Err: err}
	}
	<-s.closed
	return nil, net.ErrClosed
}

func (s *scriptedListener) Close() error   { close(s.closed); return nil }
func (s *scriptedListener) Addr() net.Addr { return &net.TCPAddr{} }

// Threat 18: without descriptors the loop waits instead of spinning, and goes
// on when there are some again.
func TestAcceptBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New(&listenerv3.Listener{Name: "l", Address: socketAddress("127.0.0.1", 0),
			FilterChains: []*listenerv3.FilterChain{chainOf("c", nil)}}, testDeps(handlers{"f": nil}))
		if err != nil {
			t.Fatal(err)
		}
		ln := &scriptedListener{closed: make(chan struct{})}
		for range 12 {
			ln.errs = append(ln.errs, syscall.EMFILE)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Serve(ctx, ln) }() // ends with ctx
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(ln.at) != 13 {
			t.Fatalf("%d accepts", len(ln.at))
		}
		for i, want := range []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 1000} {
			if got := ln.at[i+1].Sub(ln.at[i]); got != want*time.Millisecond {
				t.Errorf("wait %d was %v, want %vms", i, got, int(want))
			}
		}
	})
}

func TestAcceptFails(t *testing.T) {
	l, err := New(&listenerv3.Listener{Name: "l", Address: socketAddress("127.0.0.1", 0),
		FilterChains: []*listenerv3.FilterChain{chainOf("c", nil)}}, testDeps(handlers{"f": nil}))
	if err != nil {
		t.Fatal(err)
	}
	ln := &scriptedListener{errs: []error{syscall.EINVAL}}
	if err := l.Serve(t.Context(), ln); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("got %v", err)
	}
}

// G23: behind a finished handshake the peer is watched as well.
func TestPeerGoneBehindTransport(t *testing.T) {
	waiting := make(chan struct{})
	result := make(chan error, 1)
	addr, _ := serve(t, func(ctx context.Context, f network.Flow) error {
		done := f.Context().Done()
		close(waiting)
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Error("nobody noticed")
		}
		_, err := f.Accept(ctx)
		result <- err
		return err
	}, func(l *Listener) {
		l.chains[0].transport = fakeTransport{func(_ context.Context, c network.Conn) (network.Conn, error) { return c, nil }}
	})
	c := dial(t, addr)
	<-waiting
	_ = c.SetLinger(0)
	_ = c.Close()
	if err := <-result; network.ReasonFor(err) != network.ReasonCanceled {
		t.Errorf("got %v", err)
	}
}

// failing is a socket whose accept fails as told, then is closed.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return nil, net.ErrClosed
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
}

func (f *failing) Close() error { return nil }

// What accept(2) passes on from a connection, or from a shortage, does not end
// a listener, and is one line in a while; what says that the socket is none is
// the end.
func TestAcceptErrors(t *testing.T) {
	passing := []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR, syscall.EPERM,
		syscall.ENETDOWN, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, syscall.ENONET, syscall.EHOSTUNREACH,
		syscall.EOPNOTSUPP, syscall.ENETUNREACH,
	}
	synctest.Test(t, func(t *testing.T) {
		l, err := New(&listenerv3.Listener{Name: "l", Address: socketAddress("127.0.0.1", 0),
			FilterChains: []*listenerv3.FilterChain{chainOf("c", nil)}}, testDeps(handlers{"f": nil}))
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		l.deps.Log = slog.New(slog.NewTextHandler(&log, nil))
		began := time.Now()
		if err := l.Serve(t.Context(), &failing{errs: passing}); err != nil {
			t.Errorf("Serve: %v", err)
		}
		if waited := time.Since(began); waited < 2*time.Second {
			t.Errorf("%d failures within %v: it spins", len(passing), waited)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d lines for one kind of trouble within %v:\n%s", n, time.Since(began), log.String())
		}
		for _, errno := range []error{syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK} {
			if err := l.Serve(t.Context(), &failing{errs: []error{errno}}); !errors.Is(err, errno) {
				t.Errorf("Serve: %v, want %v", err, errno)
			}
		}
	})
}
