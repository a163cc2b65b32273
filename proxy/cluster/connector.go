package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
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
}

// Connect asks check twice: before, to answer without a socket, and of the
// address the socket is really given.
func (s *sockets) Connect(ctx context.Context, to network.Address, check Check) (network.Conn, error) {
	if check != nil && to.Kind == network.AddressIP {
		if err := check(to.IP); err != nil {
			return nil, err
		}
	}
	d := net.Dialer{ControlContext: func(_ context.Context, network, address string, c syscall.RawConn) error {
		if err := checkDialled(check, address); err != nil {
			return err
		}
		if s.control == nil {
			return nil
		}
		return s.control(network, address, c)
	}}
	c, err := d.DialContext(ctx, to.Network(), to.String())
	if err != nil {
		return nil, withoutAddress(err)
	}
	sock, err := network.NewSocket(c)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return sock, nil
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
