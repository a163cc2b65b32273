package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"culvert/configs/field"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"golang.org/x/sys/unix"
)

// sources are the addresses that a cluster's own sockets are bound to before
// they connect: one for each family at most. Sockets that have no IP address,
// and endpoints in this process, know nothing of them.
type sources []netip.AddrPort

// newSources reads upstream_bind_config. Errors are relative to it.
func newSources(m *corev3.BindConfig) (sources, error) {
	if m == nil {
		return nil, nil
	}
	var out sources
	var errs []error
	add := func(path string, a *corev3.SocketAddress) {
		source, err := sourceAddress(a)
		if err == nil && out.has(source) {
			err = field.Errorf("address", "there is a source address of this family already")
		}
		if err != nil {
			errs = append(errs, field.At(path, err))
			return
		}
		out = append(out, source)
	}
	if m.GetSourceAddress() == nil {
		return nil, field.Errorf("source_address", "is required")
	}
	add("source_address", m.GetSourceAddress())
	for i, extra := range m.GetExtraSourceAddresses() {
		add(field.Index("extra_source_addresses", i)+".address", extra.GetAddress())
	}
	return out, field.Join(errs...)
}

// sourceAddress is an address of this machine. Port 0 leaves the port to the
// kernel.
func sourceAddress(m *corev3.SocketAddress) (netip.AddrPort, error) {
	ip, err := netip.ParseAddr(m.GetAddress())
	switch {
	case err != nil:
		return netip.AddrPort{}, field.Errorf("address", "malformed IP address: %s", m.GetAddress())
	case m.GetProtocol() != corev3.SocketAddress_TCP:
		return netip.AddrPort{}, field.Errorf("protocol", "only TCP endpoints are supported")
	case m.GetPortValue() > 65535:
		return netip.AddrPort{}, field.Errorf("port_value", "port must be 0 to 65535")
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(m.GetPortValue())), nil
}

func (s sources) has(like netip.AddrPort) bool {
	_, ok := s.of(like.Addr())
	return ok
}

// of is the source of connections to ip: the one of its family.
func (s sources) of(ip netip.Addr) (netip.AddrPort, bool) {
	for _, source := range s {
		if source.Addr().Is4() == ip.Unmap().Is4() {
			return source, true
		}
	}
	return netip.AddrPort{}, false
}

// local is what a socket that connects to the address is bound to; nil for
// nothing.
func (s sources) local(to network.Address) (net.Addr, error) {
	if len(s) == 0 || to.Kind != network.AddressIP {
		return nil, nil
	}
	source, ok := s.of(to.IP.Addr())
	if !ok {
		return nil, network.WithReason(network.ReasonGateway, fmt.Errorf("upstream_bind_config has no source address of the family of %s", to))
	}
	return net.TCPAddrFromAddrPort(source), nil
}

// lateBind leaves the choice of a port to connect, so that as many connections
// fit behind one source address as there are ports for each destination, not as
// there are ports.
func lateBind(c syscall.RawConn) error {
	var failed error
	if err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}); err != nil {
		return err
	}
	return failed
}
