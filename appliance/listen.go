package appliance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"culvert/proxy/network"
)

// listenSocket opens a listening kernel socket. A unix socket that a process
// left behind which was killed is taken over; one that somebody answers is not.
// mode, if not 0, is the permissions of a unix socket from its first moment on.
func listenSocket(ctx context.Context, a network.Address, mode fs.FileMode) (net.Listener, error) {
	var lc net.ListenConfig
	if a.Kind == network.AddressPipe && mode != 0 {
		lc.Control = func(_, _ string, c syscall.RawConn) error { return setMode(c, mode) }
	}
	ln, err := lc.Listen(ctx, listenNetwork(a), a.String())
	if err != nil && a.Kind == network.AddressPipe && errors.Is(err, syscall.EADDRINUSE) && isLeftBehind(ctx, a.Name) {
		if err := os.Remove(a.Name); err != nil {
			return nil, fmt.Errorf("listen on %v: %w", a, err)
		}
		ln, err = lc.Listen(ctx, listenNetwork(a), a.String())
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %v: %w", a, bare(err))
	}
	return ln, nil
}

// listenNetwork names the family: "tcp" alone would open 0.0.0.0 to IPv6 as
// well, and "::" to IPv4, which Envoy does only if ipv4_compat asks for it.
func listenNetwork(a network.Address) string {
	switch {
	case a.Kind != network.AddressIP:
		return a.Network()
	case a.IP.Addr().Is4():
		return "tcp4"
	}
	return "tcp6"
}

// setMode sets the permissions that bind will give the socket's file (Linux
// takes them from the socket's own inode).
func setMode(c syscall.RawConn, mode fs.FileMode) error {
	var serr error
	err := c.Control(func(fd uintptr) { serr = syscall.Fchmod(int(fd), uint32(mode.Perm())) })
	return errors.Join(err, serr)
}

// isLeftBehind reports a socket file that nobody listens on.
func isLeftBehind(ctx context.Context, path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// bare is err without the address that net repeats.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
