package netstacktest

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"

	"culvert/netstack/link"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Addresses of a Host.
var (
	HostIPv4 = netip.MustParseAddr("10.9.0.2")
	HostIPv6 = netip.MustParseAddr("fd09::2")
)

// Host is a stack that plays the machine an application runs on.
type Host struct {
	stack *stack.Stack
}

// NewHost makes a host at one end of a pair, with HostIPv4 and HostIPv6. It is
// taken apart when the test ends.
func NewHost(t testing.TB, d *Device) *Host {
	t.Helper()
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	ep := link.New(d)
	if err := s.CreateNIC(1, ep); err != nil {
		t.Fatalf("create nic: %s", err)
	}
	for _, a := range []netip.Addr{HostIPv4, HostIPv6} {
		p := tcpip.ProtocolAddress{Protocol: protocol(a), AddressWithPrefix: tcpip.AddrFromSlice(a.AsSlice()).WithPrefix()}
		if err := s.AddProtocolAddress(1, p, stack.AddressProperties{}); err != nil {
			t.Fatalf("add address: %s", err)
		}
	}
	s.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: 1}, {Destination: header.IPv6EmptySubnet, NIC: 1},
	})
	recovery := tcpip.TCPRecovery(0) // see options.go of netstack
	s.SetTransportProtocolOption(tcp.ProtocolNumber, &recovery)
	var pump sync.WaitGroup
	pump.Go(func() { _ = ep.Pump() }) // ends with Interrupt
	t.Cleanup(func() {
		s.Close()
		d.Interrupt()
		pump.Wait()
		s.Wait()
	})
	return &Host{s}
}

func protocol(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

// Conn is an application's connection.
type Conn struct {
	*gonet.TCPConn
	ep tcpip.Endpoint
}

// Abort sends RST.
func (c *Conn) Abort() { c.ep.Abort() }

// ConnectError is how a connect failed, in the stack's words.
type ConnectError struct{ Err tcpip.Error }

func (e *ConnectError) Error() string { return "connect: " + e.Err.String() }

// Dial connects as an application would. It fails with a *ConnectError or the
// context's error.
func (h *Host) Dial(ctx context.Context, dst netip.AddrPort) (*Conn, error) {
	var queue waiter.Queue
	ep, err := h.stack.NewEndpoint(tcp.ProtocolNumber, protocol(dst.Addr()), &queue)
	if err != nil {
		return nil, &ConnectError{err}
	}
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	queue.EventRegister(&entry)
	defer queue.EventUnregister(&entry)
	err = ep.Connect(tcpip.FullAddress{NIC: 1, Addr: tcpip.AddrFromSlice(dst.Addr().AsSlice()), Port: dst.Port()})
	if _, started := err.(*tcpip.ErrConnectStarted); started {
		select {
		case <-ready:
			err = ep.LastError()
		case <-ctx.Done():
			ep.Close()
			return nil, ctx.Err()
		}
	}
	if err != nil {
		ep.Close()
		return nil, &ConnectError{err}
	}
	return &Conn{gonet.NewTCPConn(&queue, ep), ep}, nil
}

// IsRefused reports whether a connect was answered with RST.
func IsRefused(err error) bool {
	var e *ConnectError
	if !errors.As(err, &e) {
		return false
	}
	_, ok := e.Err.(*tcpip.ErrConnectionRefused)
	return ok
}
