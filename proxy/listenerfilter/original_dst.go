package listenerfilter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"culvert/proxy/network"

	"golang.org/x/sys/unix"
)

// OriginalDst restores where a connection was going before the kernel redirected
// it (REDIRECT or DNAT of netfilter), or, on an internal listener, where whoever
// made it says it is going.
type OriginalDst struct{}

// What an internal connection says of itself.
const (
	originalDstNamespace = "envoy.filters.listener.original_dst" // metadata; its field is local
	// StateOriginalLocal and StateOriginalRemote are filter state: a
	// network.Address, a netip.AddrPort, or text.
	StateOriginalLocal  = originalDstNamespace + ".local_ip"
	StateOriginalRemote = originalDstNamespace + ".remote_ip"
)

// Inspect implements Filter. It reads no bytes.
func (OriginalDst) Inspect(_ context.Context, p *network.Peek) error {
	info := p.Info()
	if info.DirectLocalAddress.Kind == network.AddressInternal {
		return restoreInternal(info)
	}
	raw, ok := p.Socket()
	if !ok {
		return nil // no kernel redirected it
	}
	original, err := netip.AddrPort{}, error(nil)
	controlErr := raw.Control(func(fd uintptr) {
		original, err = redirectedFrom(int(fd), info.DirectLocalAddress.IP.Addr().Is4())
	})
	switch {
	case controlErr != nil:
		return fmt.Errorf("original destination: %w", controlErr)
	case err != nil:
		return nil //nolint:nilerr // nothing was redirected, or nothing here can be
	}
	if a := network.IPAddress(original); a != info.DirectLocalAddress {
		info.LocalAddress = a
	}
	return nil
}

// restoreInternal takes over filter state, and metadata where there is none.
func restoreInternal(info *network.StreamInfo) error {
	local, err := stateAddress(info, StateOriginalLocal)
	if err != nil {
		return err
	}
	if local.IsZero() {
		if s, ok := info.Metadata[originalDstNamespace]["local"].(string); ok {
			if local, err = parseAddress(s); err != nil {
				return fmt.Errorf("metadata %s: local: %w", originalDstNamespace, err)
			}
		}
	}
	remote, err := stateAddress(info, StateOriginalRemote)
	if err != nil {
		return err
	}
	if !local.IsZero() {
		info.LocalAddress = local
	}
	if !remote.IsZero() {
		info.RemoteAddress = remote
	}
	return nil
}

func stateAddress(info *network.StreamInfo, key string) (network.Address, error) {
	v, ok := info.LookupFilterState(key)
	if !ok {
		return network.Address{}, nil
	}
	var a network.Address
	var err error
	switch v := v.(type) {
	case network.Address:
		a = v
	case netip.AddrPort:
		a = network.IPAddress(v)
	case string:
		a, err = parseAddress(v)
	default:
		err = fmt.Errorf("is a %T", v)
	}
	if err == nil && a.Kind != network.AddressIP {
		err = errors.New("is no IP address and port")
	}
	if err != nil {
		return network.Address{}, fmt.Errorf("filter state %s: %w", key, err)
	}
	return a, nil
}

func parseAddress(s string) (network.Address, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Addr().Zone() != "" {
		return network.Address{}, errors.New("is no IP address and port")
	}
	return network.IPAddress(ap), nil
}

// redirectedFrom asks the connection tracker where a connection was going: the
// options of IPv4 and IPv6 have the same number, and answer with a sockaddr of
// their family.
func redirectedFrom(fd int, v4 bool) (netip.AddrPort, error) {
	if v4 {
		// An option that answers with as many bytes as a sockaddr_in has.
		m, err := unix.GetsockoptIPv6Mreq(fd, unix.IPPROTO_IP, unix.SO_ORIGINAL_DST)
		if err != nil {
			return netip.AddrPort{}, err
		}
		return sockaddr4(m.Multiaddr), nil
	}
	// Likewise for a sockaddr_in6, which this one begins with.
	m, err := unix.GetsockoptIPv6MTUInfo(fd, unix.IPPROTO_IPV6, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return sockaddr6(m.Addr), nil
}

// sockaddr4 reads a sockaddr_in: family, port, address; the latter two in
// network order.
func sockaddr4(b [16]byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4]))
}

// sockaddr6 reads a sockaddr_in6, whose port is in network order.
func sockaddr6(a unix.RawSockaddrInet6) netip.AddrPort {
	var port [2]byte
	binary.NativeEndian.PutUint16(port[:], a.Port)
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), binary.BigEndian.Uint16(port[:]))
}
