package netstack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Layout of a SOCK_DIAG_BY_FAMILY request: nlmsghdr and inet_diag_req_v2
// (linux/inet_diag.h), and the parts of its answer that are read.
const (
	diagRequestLen = unix.SizeofNlMsghdr + 56
	diagNoCookie   = 0xffffffff

	offFamily  = unix.SizeofNlMsghdr
	offProto   = offFamily + 1
	offStates  = offFamily + 4
	offPorts   = offFamily + 8
	offSource  = offFamily + 12
	offDest    = offFamily + 28
	offDevice  = offFamily + 44
	offCookie  = offFamily + 48
	offState   = unix.SizeofNlMsghdr + 1 // of the answer, inet_diag_msg
	tcpSynSent = 2                       // enum in net/tcp_states.h
)

// SockDiag is a Prober that asks the kernel for the exact socket, a few
// microseconds each time. It needs no privilege.
type SockDiag struct {
	device uint32 // interface the socket may be bound to

	mu  sync.Mutex
	fd  int // guarded by mu; -1 once closed
	seq uint32
	buf [4096]byte
}

// NewSockDiag asks about sockets in the network namespace of the calling
// thread. device is the index of the interface through which they connect, for
// those bound to it; 0 if there are none such. The caller closes it.
func NewSockDiag(device int) (*SockDiag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	// The kernel has answered before sendto returns; the time-out is for a
	// kernel that is not so.
	tv := unix.Timeval{Usec: 50000}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	return &SockDiag{fd: fd, device: uint32(device)}, nil
}

// NewSockDiagIn is NewSockDiag in another network namespace: path is
// /proc/PID/ns/net, or a descriptor's path in /proc/self/fd. Entering it takes
// CAP_SYS_ADMIN there.
func NewSockDiagIn(path string, device int) (*SockDiag, error) {
	ns, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	type result struct {
		d   *SockDiag
		err error
	}
	done := make(chan result, 1)
	go func() { // ends at once; its thread, being elsewhere, ends with it
		runtime.LockOSThread()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{err: fmt.Errorf("enter network namespace %s: %w", path, err)}
			return
		}
		d, err := NewSockDiag(device)
		done <- result{d, err}
	}()
	r := <-done
	return r.d, r.err
}

// Close closes the netlink socket; Probe then answers LivenessUnknown.
func (d *SockDiag) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd < 0 {
		return nil
	}
	err := unix.Close(d.fd)
	d.fd = -1
	return err
}

// Probe looks the socket up.
func (d *SockDiag) Probe(local, remote netip.AddrPort) Liveness {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd < 0 {
		return LivenessUnknown
	}
	d.seq++
	req := diagRequest(d.seq, d.device, local, remote)
	if err := unix.Sendto(d.fd, req[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return LivenessUnknown
	}
	return d.answerLocked()
}

// answerLocked reads answers until the one to the last question.
func (d *SockDiag) answerLocked() Liveness {
	for {
		n, _, err := unix.Recvfrom(d.fd, d.buf[:], 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return LivenessUnknown
		}
		l, seq := diagAnswer(d.buf[:n])
		if seq == d.seq {
			return l
		}
	}
}

// diagRequest asks for one TCP socket in any state.
func diagRequest(seq, device uint32, local, remote netip.AddrPort) [diagRequestLen]byte {
	var b [diagRequestLen]byte
	e := binary.NativeEndian
	e.PutUint32(b[0:], diagRequestLen)
	e.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	e.PutUint16(b[6:], unix.NLM_F_REQUEST)
	e.PutUint32(b[8:], seq)
	b[offFamily], b[offProto] = unix.AF_INET, unix.IPPROTO_TCP
	if local.Addr().Is6() && !local.Addr().Is4In6() {
		b[offFamily] = unix.AF_INET6
	}
	e.PutUint32(b[offStates:], 0xffffffff)
	binary.BigEndian.PutUint16(b[offPorts:], local.Port())
	binary.BigEndian.PutUint16(b[offPorts+2:], remote.Port())
	copy(b[offSource:offDest], local.Addr().Unmap().AsSlice())
	copy(b[offDest:offDevice], remote.Addr().Unmap().AsSlice())
	e.PutUint32(b[offDevice:], device)
	e.PutUint32(b[offCookie:], diagNoCookie)
	e.PutUint32(b[offCookie+4:], diagNoCookie)
	return b
}

// diagAnswer reads one netlink message.
func diagAnswer(b []byte) (Liveness, uint32) {
	if len(b) < unix.SizeofNlMsghdr {
		return LivenessUnknown, 0
	}
	e := binary.NativeEndian
	kind, seq := e.Uint16(b[4:]), e.Uint32(b[8:])
	switch {
	case kind == unix.SOCK_DIAG_BY_FAMILY && len(b) > offState:
		if b[offState] == tcpSynSent {
			return LivenessAlive, seq
		}
		return LivenessGone, seq
	case kind == unix.NLMSG_ERROR && len(b) >= unix.SizeofNlMsghdr+4:
		if errno := -int32(e.Uint32(b[unix.SizeofNlMsghdr:])); errno == int32(unix.ENOENT) {
			return LivenessGone, seq
		}
	}
	return LivenessUnknown, seq
}
