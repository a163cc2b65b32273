package network

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// AddressKind tells what an Address names.
type AddressKind uint8

// The kinds of address a flow can come from or go to.
const (
	AddressNone     AddressKind = iota // unset
	AddressIP                          // IP and port
	AddressName                        // host name and port, not resolved
	AddressPipe                        // unix socket path
	AddressInternal                    // internal listener
)

// Address is where a flow comes from or goes to. It is a value, comparable,
// and a net.Addr. The zero Address is unset and prints as "-".
type Address struct {
	Kind AddressKind
	// IP holds address and port of AddressIP; its Port of AddressName.
	IP netip.AddrPort
	// Name is the host of AddressName, the path of AddressPipe, the listener
	// name of AddressInternal.
	Name string
	// ID is the endpoint_id of AddressInternal.
	ID string
}

// IPAddress is the address of an IP and port. IPv4-mapped IPv6 is unmapped.
func IPAddress(ap netip.AddrPort) Address {
	return Address{Kind: AddressIP, IP: netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}
}

// NameAddress is the address of a host name and port. A literal IP becomes an
// AddressIP.
func NameAddress(host string, port uint16) Address {
	if ip, err := netip.ParseAddr(host); err == nil {
		return IPAddress(netip.AddrPortFrom(ip, port))
	}
	return Address{Kind: AddressName, Name: host, IP: netip.AddrPortFrom(netip.Addr{}, port)}
}

// PipeAddress is the address of a unix socket.
func PipeAddress(path string) Address { return Address{Kind: AddressPipe, Name: path} }

// InternalAddress is the address of an internal listener.
func InternalAddress(listener, endpointID string) Address {
	return Address{Kind: AddressInternal, Name: listener, ID: endpointID}
}

// AddressOf converts what the standard library returns; an address it does
// not know is AddressNone.
func AddressOf(a net.Addr) Address {
	switch a := a.(type) {
	case Address:
		return a
	case *net.TCPAddr:
		return IPAddress(a.AddrPort())
	case *net.UDPAddr:
		return IPAddress(a.AddrPort())
	case *net.UnixAddr:
		return PipeAddress(a.Name)
	}
	return Address{}
}

// ParseHostPort reads "host:port" or "[v6]:port", as in an :authority. The port
// is required and decimal, 1 to 65535.
func ParseHostPort(s string) (Address, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return Address{}, fmt.Errorf("address %q: want host:port", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Address{}, fmt.Errorf("address %q: port must be 1 to 65535", s)
	}
	if host == "" || strings.ContainsAny(host, "/?#@%\\ \t\r\n\x00") {
		return Address{}, fmt.Errorf("address %q: not a host", s)
	}
	return NameAddress(host, uint16(n)), nil
}

// Port is the port of an AddressIP or AddressName, else 0.
func (a Address) Port() uint16 { return a.IP.Port() }

// Host is the address without its port: an IP without brackets, or the name.
func (a Address) Host() string {
	if a.Kind == AddressIP {
		return a.IP.Addr().String()
	}
	return a.Name
}

// IsZero reports whether the address is unset.
func (a Address) IsZero() bool { return a.Kind == AddressNone }

// Network is the net.Addr network: tcp, unix or envoy_internal.
func (a Address) Network() string {
	switch a.Kind {
	case AddressPipe:
		return "unix"
	case AddressInternal:
		return "envoy_internal"
	default:
		return "tcp"
	}
}

// String prints the address as Envoy does: ip:port, name:port, the path of a
// pipe, envoy://listener/id.
func (a Address) String() string {
	switch a.Kind {
	case AddressIP:
		return a.IP.String()
	case AddressName:
		return net.JoinHostPort(a.Name, strconv.Itoa(int(a.IP.Port())))
	case AddressPipe:
		return a.Name
	case AddressInternal:
		return "envoy://" + a.Name + "/" + a.ID
	default:
		return "-"
	}
}
