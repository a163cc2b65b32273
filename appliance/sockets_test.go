package appliance

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"culvert/proxy/network"
	"culvert/test/leak"
	"culvert/test/need"
	"culvert/test/ports"
)

func ipAddress(s string) network.Address { return network.IPAddress(netip.MustParseAddrPort(s)) }

// accepted accepts one connection that the caller has dialled.
func accepted(t *testing.T, ln net.Listener, network, address string) {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}

// Two users of an address have a socket each; what one has left in the queue is
// the other's, and the last one closes the kernel's.
func TestSocketsShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	for _, a := range []network.Address{ipAddress(loopback(ports.Free(t, 1)[0])), network.PipeAddress(path)} {
		t.Run(a.Network(), func(t *testing.T) {
			before := leak.Open()
			s := newSockets()
			old, err := s.listen(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			accepted(t, old, a.Network(), a.String())
			now, err := s.listen(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			waiting, err := net.Dial(a.Network(), a.String())
			if err != nil {
				t.Fatal(err)
			}
			if err := old.Close(); err != nil {
				t.Error(err)
			}
			if err := old.Close(); err == nil {
				t.Error("a second Close is no error")
			}
			if _, err := old.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept of a closed one: %v", err)
			}
			c, err := now.Accept()
			if err != nil {
				t.Fatalf("what waited is lost: %v", err)
			}
			_, _ = c.Close(), waiting.Close()
			accepted(t, now, a.Network(), a.String())
			if err := now.Close(); err != nil {
				t.Error(err)
			}
			if c, err := net.Dial(a.Network(), a.String()); err == nil {
				_ = c.Close()
				t.Error("the socket is open after its last user has closed it")
			}
			if len(s.open) != 0 {
				t.Errorf("still known: %v", s.open)
			}
			eventually(t, "as many descriptors as before", func() bool { return len(leak.Open()) <= len(before) })
		})
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the unix socket's file is left: %v", err)
	}
}

func TestSocketsPortZeroIsNotShared(t *testing.T) {
	s := newSockets()
	first, err := s.listen(t.Context(), ipAddress("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := s.listen(t.Context(), ipAddress("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if first.Addr().String() == second.Addr().String() {
		t.Errorf("both listen on %v", first.Addr())
	}
}

func TestSocketsTaken(t *testing.T) {
	taken := listen(t)
	defer taken.Close()
	s := newSockets()
	_, err := s.listen(t.Context(), network.AddressOf(taken.Addr()))
	if want := "listen on " + taken.Addr().String() + ": bind: address already in use"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if len(s.open) != 0 {
		t.Errorf("known after a failure: %v", s.open)
	}
}

// An address of one family is not reached through the other.
func TestListenOneFamily(t *testing.T) {
	need.IPv6(t)
	for _, tt := range []struct{ any, own, other string }{
		{"0.0.0.0:0", "127.0.0.1", "::1"},
		{"[::]:0", "::1", "127.0.0.1"},
	} {
		ln, err := listenSocket(t.Context(), ipAddress(tt.any), 0)
		if err != nil {
			t.Fatal(err)
		}
		port := portOf(ln.Addr().String())
		accepted(t, ln, "tcp", net.JoinHostPort(tt.own, port))
		if c, err := net.Dial("tcp", net.JoinHostPort(tt.other, port)); err == nil {
			_ = c.Close()
			t.Errorf("%s answers on %s", tt.any, tt.other)
		}
		_ = ln.Close()
	}
}

func TestListenUnixSocket(t *testing.T) {
	dir := t.TempDir()
	inUse := filepath.Join(dir, "in-use.sock")
	used, err := net.Listen("unix", inUse)
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	left := filepath.Join(dir, "left.sock")
	gone, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	gone.SetUnlinkOnClose(false) // as a process that was killed leaves it
	_ = gone.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, path, want string }{
		{"new", filepath.Join(dir, "new.sock"), ""},
		{"left behind", left, ""},
		{"in use", inUse, "address already in use"},
		{"a file", file, "address already in use"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := listenSocket(t.Context(), network.PipeAddress(tt.path), adminMode)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, syscall.EADDRINUSE) {
					t.Errorf("error %v, want %s", err, tt.want)
				}
				if _, err := os.Lstat(tt.path); err != nil {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			info, err := os.Lstat(tt.path)
			if err != nil || info.Mode() != fs.ModeSocket|adminMode {
				t.Errorf("mode %v, %v, want %v", info.Mode(), err, fs.ModeSocket|fs.FileMode(adminMode))
			}
			accepted(t, ln, "unix", tt.path)
		})
	}
}
