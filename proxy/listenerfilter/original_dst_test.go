package listenerfilter

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"culvert/proxy/network"
	"culvert/proxy/transport/transporttest"

	"golang.org/x/sys/unix"
)

func addr(s string) network.Address { return network.IPAddress(netip.MustParseAddrPort(s)) }

func TestOriginalDstOfAnInternalConnection(t *testing.T) {
	const (
		local    = "envoy.filters.listener.original_dst.local_ip"
		remote   = "envoy.filters.listener.original_dst.remote_ip"
		metadata = "envoy.filters.listener.original_dst"
	)
	for _, c := range []struct {
		name  string
		set   func(*network.StreamInfo)
		local string // empty: an error
		from  string
	}{
		{"nothing", func(*network.StreamInfo) {}, "envoy://l/", "-"},
		{"metadata", func(i *network.StreamInfo) { i.SetMetadata(metadata, "local", "192.0.2.1:80") }, "192.0.2.1:80", "-"},
		{"IPv6", func(i *network.StreamInfo) { i.SetMetadata(metadata, "local", "[2001:db8::1]:80") }, "[2001:db8::1]:80", "-"},
		{"state as text", func(i *network.StreamInfo) { i.SetFilterState(local, "192.0.2.2:80") }, "192.0.2.2:80", "-"},
		{"state as an address", func(i *network.StreamInfo) { i.SetFilterState(local, addr("192.0.2.3:80")) }, "192.0.2.3:80", "-"},
		{"both ends", func(i *network.StreamInfo) {
			i.SetFilterState(local, netip.MustParseAddrPort("192.0.2.3:80"))
			i.SetFilterState(remote, "192.0.2.4:1000")
		}, "192.0.2.3:80", "192.0.2.4:1000"},
		{"state before metadata", func(i *network.StreamInfo) {
			i.SetMetadata(metadata, "local", "192.0.2.1:80")
			i.SetFilterState(local, "192.0.2.2:80")
		}, "192.0.2.2:80", "-"},
		{"a name", func(i *network.StreamInfo) { i.SetMetadata(metadata, "local", "a.test:80") }, "", ""},
		{"no port", func(i *network.StreamInfo) { i.SetFilterState(local, "192.0.2.1") }, "", ""},
		{"another kind of address", func(i *network.StreamInfo) { i.SetFilterState(local, network.PipeAddress("/x")) }, "", ""},
		{"another type", func(i *network.StreamInfo) { i.SetFilterState(remote, 7) }, "", ""},
	} {
		info := network.NewStreamInfo(1)
		info.LocalAddress = network.InternalAddress("l", "")
		info.DirectLocalAddress = info.LocalAddress
		c.set(info)
		err := OriginalDst{}.Inspect(t.Context(), network.PeekConn(nil, info))
		switch {
		case c.local == "" && err == nil:
			t.Errorf("%s: accepted, as %s", c.name, info.LocalAddress)
		case c.local == "":
		case err != nil || info.LocalAddress.String() != c.local || info.RemoteAddress.String() != c.from:
			t.Errorf("%s: %s from %s, %v", c.name, info.LocalAddress, info.RemoteAddress, err)
		}
	}
}

// A connection that the kernel did not redirect stays where it is, also where
// another filter has already said that it was going elsewhere.
func TestOriginalDstOfADirectConnection(t *testing.T) {
	ours, _ := transporttest.Pair(t)
	info := network.NewStreamInfo(1)
	info.DirectLocalAddress = network.AddressOf(ours.LocalAddr())
	info.LocalAddress = addr("192.0.2.1:443")
	if err := (OriginalDst{}).Inspect(t.Context(), network.PeekConn(ours, info)); err != nil || info.LocalAddress != addr("192.0.2.1:443") {
		t.Errorf("%s, %v", info.LocalAddress, err)
	}
}

func TestSockaddrs(t *testing.T) {
	v4 := [16]byte{2, 0, 0x01, 0xbb, 192, 0, 2, 1}
	if got := sockaddr4(v4).String(); got != "192.0.2.1:443" {
		t.Errorf("sockaddr_in: %s", got)
	}
	v6 := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: netip.MustParseAddr("2001:db8::1").As16()}
	if port := uint16(443); binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		v6.Port = port<<8 | port>>8
	} else {
		v6.Port = port
	}
	if got := sockaddr6(v6).String(); got != "[2001:db8::1]:443" {
		t.Errorf("sockaddr_in6: %s", got)
	}
}
