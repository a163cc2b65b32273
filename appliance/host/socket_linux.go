package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen opens a listening stream socket in the namespace; network is tcp, tcp4
// or tcp6 and the host part of address is empty or numeric, since names would
// be looked up from outside. The listener may be used, and its connections too,
// from anywhere.
func (n *Namespace) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	if err := numeric(address); err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	var ln net.Listener
	err := n.Do(func() error {
		var lc net.ListenConfig
		var err error
		ln, err = lc.Listen(ctx, network, address)
		return err
	})
	return ln, err
}

// ListenPacket is Listen for udp, udp4 and udp6.
func (n *Namespace) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	if err := numeric(address); err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	var pc net.PacketConn
	err := n.Do(func() error {
		var lc net.ListenConfig
		var err error
		pc, err = lc.ListenPacket(ctx, network, address)
		return err
	})
	return pc, err
}

func numeric(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return err
	}
	_, err = netip.ParseAddr(host)
	return err
}

// DialContext connects from within the namespace: network is tcp, tcp4, tcp6,
// udp, udp4 or udp6, and address is numeric. The socket is made inside and
// connected from outside, so that a waiting connect holds no thread. Errors are
// as of net.Dialer: a *net.OpError with the kernel's errno in its chain, or the
// context's cause.
func (n *Namespace) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := n.dial(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s: %w", address, err)}
	}
	return c, nil
}

func (n *Namespace) dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	family, sa, err := sockaddr(to)
	if err != nil {
		return nil, err
	}
	kind := unix.SOCK_STREAM
	switch strings.TrimRight(network, "46") {
	case "tcp":
	case "udp":
		kind = unix.SOCK_DGRAM
	default:
		return nil, net.UnknownNetworkError(network)
	}
	if strings.HasSuffix(network, "4") != (family == unix.AF_INET) && strings.ContainsAny(network, "46") {
		return nil, &net.AddrError{Err: "address is not of network " + network, Addr: address}
	}
	var fd int
	err = n.Do(func() error {
		var err error
		fd, err = unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	// From here the descriptor is the file's, which knows Go's poller.
	f := os.NewFile(uintptr(fd), network+" "+address)
	defer func() { _ = f.Close() }()
	if err := connect(ctx, f, sa); err != nil {
		return nil, err
	}
	return net.FileConn(f) // a duplicate
}

// connect waits until the socket is connected, refused, or ctx ends.
func connect(ctx context.Context, f *os.File, sa unix.Sockaddr) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var cerr error
	if err := raw.Control(func(fd uintptr) { cerr = unix.Connect(int(fd), sa) }); err != nil {
		return err
	}
	switch {
	case cerr == nil:
		return nil
	case !errors.Is(cerr, unix.EINPROGRESS):
		return os.NewSyscallError("connect", cerr)
	}
	// Closing the file is what wakes the wait below.
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	defer stop()
	err = raw.Write(func(fd uintptr) bool {
		var pending int
		pending, cerr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if cerr == nil && pending != 0 {
			cerr = syscall.Errno(pending)
		} else if cerr == nil {
			// Neither failed nor connected: not yet. (A new socket wakes us once.)
			if _, perr := unix.Getpeername(int(fd)); perr != nil {
				return false
			}
		}
		return true
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return os.NewSyscallError("connect", cerr)
}

func sockaddr(a netip.AddrPort) (family int, sa unix.Sockaddr, err error) {
	ip := a.Addr().Unmap()
	if ip.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: ip.As4()}, nil
	}
	if ip.Zone() != "" {
		return 0, nil, &net.AddrError{Err: "zones are not supported", Addr: a.String()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: ip.As16()}, nil
}
