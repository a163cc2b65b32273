package appliance

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/test/peer"
)

func TestConnectionLimitOfDescriptors(t *testing.T) {
	for descriptors, want := range map[int64]int64{256: 80, 1024: 416, 1 << 20: 523744, 64: 1, 20: 1} {
		if got := limitOf(descriptors); got != want {
			t.Errorf("%d descriptors: %d connections, want %d", descriptors, got, want)
		}
	}
}

// Connections beyond the limit are closed and counted; a place that is given
// back is taken again.
func TestConnectionsAreBounded(t *testing.T) {
	w := newDirectWorld(t, peer.Echo())
	s := serve(t, w.config, time.Minute)
	s.n.limit.Store(2)
	first, second := w.dial(t), w.dial(t)
	for _, c := range []net.Conn{first, second} {
		if err := echoes(c); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := w.dial(t).Read(make([]byte, 1)); err == nil {
		t.Errorf("a third connection is served: %d bytes", n)
	}
	s.counts(t, map[string]int64{"listener.127.0.0.1_" + w.Front + ".downstream_global_cx_overflow": 1})
	_ = first.Close()
	eventually(t, "a place", func() bool { return s.n.connections.Load() == 1 })
	if err := echoes(w.dial(t)); err != nil {
		t.Errorf("a place that was given back: %v", err)
	}
}

// shortListener has no descriptor for a connection until enough are given up.
type shortListener struct {
	net.Listener
	short int
}

func (l *shortListener) Accept() (net.Conn, error) {
	if l.short > 0 {
		l.short--
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	c, far := net.Pipe()
	return c, far.Close()
}

func TestReserve(t *testing.T) {
	l := &reservedListener{&shortListener{short: 2}, newReserve(3)}
	c, err := l.Accept()
	if err != nil || len(l.reserve.held) != 1 {
		t.Fatalf("%v with %d left, want a connection for two given up", err, len(l.reserve.held))
	}
	if err := c.Close(); err != nil || len(l.reserve.held) != 3 {
		t.Errorf("%v, %d held once the connection is closed", err, len(l.reserve.held))
	}
	l.Listener = &shortListener{short: 4}
	if _, err := l.Accept(); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("nothing left to give up: %v", err)
	}
	l.Listener = &shortListener{short: 0}
	if c, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	l.reserve.close()
	if err := c.Close(); err != nil || len(l.reserve.held) != 0 {
		t.Errorf("%v, %d held by a reserve that is closed", err, len(l.reserve.held))
	}
}

// brokenListener is a socket that is none any more.
type brokenListener struct{ net.Listener }

func (brokenListener) Accept() (net.Conn, error) {
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EBADF)}
}

func (brokenListener) Close() error { return nil }

// A listener that ends by itself ends the process, and says so.
func TestListenerThatEnds(t *testing.T) {
	w := newDirectWorld(t, peer.Echo())
	s := serve(t, w.config, time.Hour)
	g := s.current
	g.wg.Go(func() { g.accept(g.listeners[0], brokenListener{}) }) // ends at once
	if err := s.wait(t); !errors.Is(err, syscall.EBADF) || !strings.Contains(err.Error(), `listener "front"`) {
		t.Errorf("Run: %v", err)
	}
	if !strings.Contains(s.log.String(), "level=ERROR") || s.stateIs(stateLive) {
		t.Errorf("state %s, log:\n%s", *s.state.Load(), s.log)
	}
}
