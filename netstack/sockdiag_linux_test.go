package netstack

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A socket of this process: established is not connecting.
func TestSockDiagOnLoopback(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d, err := NewSockDiag(0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	local, remote := c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()
	if l := d.Probe(local, remote); l != LivenessGone {
		t.Errorf("established: %v", l)
	}
	if l := d.Probe(netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2")); l != LivenessGone {
		t.Errorf("no such socket: %v", l)
	}
	if _, err := NewSockDiagIn("/nonexistent", 0); err == nil {
		t.Error("a namespace that is not there was entered")
	}
}

// FuzzSockDiagAnswer reads anything; only two messages mean something.
func FuzzSockDiagAnswer(f *testing.F) {
	e := binary.NativeEndian
	found := make([]byte, 100)
	e.PutUint16(found[4:], unix.SOCK_DIAG_BY_FAMILY)
	found[offState] = tcpSynSent
	missing := make([]byte, 36)
	e.PutUint16(missing[4:], unix.NLMSG_ERROR)
	noent := int32(unix.ENOENT)
	e.PutUint32(missing[16:], uint32(-noent))
	f.Add(found)
	f.Add(missing)
	f.Add(missing[:17])
	f.Fuzz(func(t *testing.T, b []byte) {
		l, _ := diagAnswer(b)
		switch {
		case len(b) < unix.SizeofNlMsghdr:
			if l != LivenessUnknown {
				t.Errorf("%v of %d bytes", l, len(b))
			}
		case l == LivenessAlive && e.Uint16(b[4:]) != unix.SOCK_DIAG_BY_FAMILY:
			t.Errorf("alive by message %d", e.Uint16(b[4:]))
		}
	})
	if l, _ := diagAnswer(found); l != LivenessAlive {
		f.Errorf("found: %v", l)
	}
	if l, _ := diagAnswer(missing); l != LivenessGone {
		f.Errorf("missing: %v", l)
	}
}
