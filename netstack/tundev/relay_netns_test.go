package tundev_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"

	"culvert/netstack/tundev"
	"culvert/proxy/network"
	"culvert/test/need"
	"culvert/test/ports"

	"golang.org/x/sys/unix"
)

// relayTo serves flows as tcp_proxy does: it reaches the far end first, then
// accepts, then relays.
func relayTo(address string) network.Handler {
	return network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		var d net.Dialer
		raw, err := d.DialContext(f.Context(), "tcp", address)
		if err != nil {
			f.Reject(err)
			return err
		}
		up, err := network.NewSocket(raw)
		if err != nil {
			return errors.Join(err, raw.Close())
		}
		down, err := f.Accept(ctx)
		if err != nil {
			up.Abort(err)
			return err
		}
		return network.Relay(ctx, down, up, network.RelayOptions{Meter: &f.Info().Meter}).Err
	})
}

// resetWhenSent sends b and RST once the peer has all of it.
func resetWhenSent(c *net.TCPConn, b []byte) error {
	if _, err := c.Write(b); err != nil {
		return err
	}
	sc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	for left := 1; left > 0; time.Sleep(time.Millisecond) {
		cerr := sc.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		if err := errors.Join(err, cerr); err != nil {
			return err
		}
	}
	return errors.Join(c.SetLinger(0), c.Close())
}

// Bytes sent before a reset arrive before it, in both directions and in the
// kernel's own words, and half an end is half an end.
func TestRelayedEnds(t *testing.T) {
	need.TUN(t)
	data := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(data) // never fails
	for _, c := range []struct {
		name   string
		sender func(app, origin *net.TCPConn) (from, to *net.TCPConn)
		end    func(*net.TCPConn, []byte) error
		want   error
	}{
		{"origin resets", fromOrigin, resetWhenSent, syscall.ECONNRESET},
		{"application resets", fromApp, resetWhenSent, syscall.ECONNRESET},
		{"origin ends first", fromOrigin, endAfter, nil},
		{"application ends first", fromApp, endAfter, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			n := newNamespace(t)
			serve(t, n.openTUN(t, tundev.Options{Name: "culvert0"}), relayTo(l.Addr().String()), nil)
			conn, err := n.connect(target(kernel4, 1), patience)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			origin, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer origin.Close()
			from, to := c.sender(conn.(*net.TCPConn), origin.(*net.TCPConn))
			sent := make(chan error, 1)
			go func() { sent <- c.end(from, data) }() // ends with the connection
			got, err := io.ReadAll(to)
			if !errors.Is(err, c.want) {
				t.Errorf("read to the end: %v, want %v", err, c.want)
			}
			if !bytes.Equal(got, data) {
				t.Errorf("%d bytes of %d came before the end, or others", len(got), len(data))
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
			if c.want == nil {
				late(t, to, from, data)
			}
		})
	}
}

func fromOrigin(app, origin *net.TCPConn) (from, to *net.TCPConn) { return origin, app }

func fromApp(app, origin *net.TCPConn) (from, to *net.TCPConn) { return app, origin }

func endAfter(c *net.TCPConn, b []byte) error {
	_, err := c.Write(b)
	return errors.Join(err, c.CloseWrite())
}

// late sends data the other way, after one direction has ended.
func late(t *testing.T, from, to *net.TCPConn, data []byte) {
	t.Helper()
	sent := make(chan error, 1)
	go func() { sent <- endAfter(from, data) }() // ends with the connection
	got, err := io.ReadAll(to)
	if err := errors.Join(err, <-sent); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(got, data) {
		t.Errorf("%d late bytes of %d", len(got), len(data))
	}
}

// The gateway's own words: a refused dial is a refused connect.
func TestRelayRefused(t *testing.T) {
	need.TUN(t)
	n := newNamespace(t)
	serve(t, n.openTUN(t, tundev.Options{Name: "culvert0"}), relayTo(ports.Closed(t)), nil)
	if _, err := n.connect(target(kernel6, 1), patience); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connect: %v", err)
	}
}
