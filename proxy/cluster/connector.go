package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"culvert/proxy/network"
)

// Check permits or refuses the very address that is about to be connected to.
type Check func(netip.AddrPort) error

// Connector makes one connection to an address: of kind AddressIP or
// AddressPipe, never a name. ctx bounds it. check is nil where the
// configuration chose the address.
type Connector interface {
	Connect(ctx context.Context, to network.Address, check Check) (network.Conn, error)
}

// sockets is the kernel's TCP and unix sockets.
type sockets struct {
	control func(network, address string, c syscall.RawConn) error
	sources sources
	// unbound is told that the source of a connection could not be had.
	unbound func()
	// short is told that the process or the machine has no socket left.
	short func(error)
}

// Connect asks check twice: before, to answer without a socket, and of the
// address the socket is really given.
func (s *sockets) Connect(ctx context.Context, to network.Address, check Check) (network.Conn, error) {
	if check != nil && to.Kind == network.AddressIP {
		if err := check(to.IP); err != nil {
			return nil, err
		}
	}
	local, err := s.sources.local(to)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{LocalAddr: local, ControlContext: func(_ context.Context, network, address string, c syscall.RawConn) error {
		if err := checkDialled(check, address); err != nil {
			return err
		}
		return s.prepare(network, address, c, local != nil)
	}}
	c, err := d.DialContext(ctx, to.Network(), to.String())
	if err != nil {
		return nil, s.explain(err)
	}
	sock, err := network.NewSocket(c)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return sock, nil
}

// prepare readies a socket before it is bound and connects.
func (s *sockets) prepare(network, address string, c syscall.RawConn, binds bool) error {
	if binds {
		if err := lateBind(c); err != nil {
			return err
		}
	}
	if s.control == nil {
		return nil
	}
	return s.control(network, address, c)
}

// explain is the kernel's error. Whether its source may be had is no word about
// the endpoint.
func (s *sockets) explain(err error) error {
	err = withoutAddress(err)
	var call *os.SyscallError
	if errors.As(err, &call) && call.Syscall == "bind" {
		s.unbound()
		return network.WithReason(network.ReasonGateway, err)
	}
	if network.ReasonFor(err) == network.ReasonOverflow && s.short != nil {
		s.short(err)
	}
	return err
}

func checkDialled(check Check, address string) error {
	if check == nil {
		return nil
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return network.WithReason(network.ReasonProhibited, fmt.Errorf("egress policy: %q is not an address", address))
	}
	return check(ap)
}

// withoutAddress drops the words of package net around the kernel's: whoever
// reports the error names the endpoint.
func withoutAddress(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
