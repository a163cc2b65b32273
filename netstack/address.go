package netstack

import (
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// addrPort converts gVisor's address.
func addrPort(a tcpip.Address, port uint16) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(a.AsSlice())
	return netip.AddrPortFrom(ip, port)
}

// source is the application's end of a captured connection, destination the one
// it asked for.
func source(id stack.TransportEndpointID) netip.AddrPort {
	return addrPort(id.RemoteAddress, id.RemotePort)
}

func destination(id stack.TransportEndpointID) netip.AddrPort {
	return addrPort(id.LocalAddress, id.LocalPort)
}

func tcpAddr(ap netip.AddrPort) net.Addr { return net.TCPAddrFromAddrPort(ap) }

// networkProtocol is the IP version of an endpoint's addresses.
func networkProtocol(id stack.TransportEndpointID) tcpip.NetworkProtocolNumber {
	if id.LocalAddress.Len() == header.IPv4AddressSize {
		return header.IPv4ProtocolNumber
	}
	return header.IPv6ProtocolNumber
}
