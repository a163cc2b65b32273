package h1

import (
	"errors"
	"syscall"

	"culvert/proxy/network"

	"golang.org/x/sys/unix"
)

// stale reports whether anything has come on an idle socket: its end, a reset,
// or bytes that nobody asked for. Where it cannot look (TLS, memory) it says no.
func stale(c network.Conn) bool {
	s, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return true
	}
	came := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		came = !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	})
	return came || err != nil
}
