package cluster

import (
	"net/netip"
)

// addressClass is a set of kinds of address that need a permission of their own.
type addressClass uint8

const (
	classLoopback addressClass = 1 << iota
	classLinkLocal
	classMetadata
	classPrivate
	classOwn
)

func (c addressClass) String() string {
	switch c {
	case classLoopback:
		return "loopback"
	case classLinkLocal:
		return "link-local"
	case classMetadata:
		return "cloud metadata"
	case classPrivate:
		return "private"
	case classOwn:
		return "own"
	}
	return "unclassified"
}

// prefixes of a class, from the IANA special-purpose registries and the clouds'
// documentation.
func (c addressClass) prefixes() []netip.Prefix {
	switch c {
	case classLoopback:
		return loopbackPrefixes
	case classLinkLocal:
		return linkLocalPrefixes
	case classMetadata:
		return metadataPrefixes
	case classPrivate:
		return privatePrefixes
	}
	return nil
}

// The tables are constants in all but name; nothing writes them.
var (
	loopbackPrefixes  = prefixes("127.0.0.0/8", "::1/128")
	linkLocalPrefixes = prefixes("169.254.0.0/16", "fe80::/10")
	metadataPrefixes  = prefixes(
		"169.254.169.254/32",  // AWS, Google, Azure, OpenStack, DigitalOcean
		"169.254.169.253/32",  // AWS resolver
		"169.254.169.123/32",  // AWS time
		"169.254.170.2/32",    // AWS ECS credentials
		"169.254.170.23/32",   // AWS EKS pod identity
		"169.254.0.23/32",     // Tencent
		"100.100.100.200/32",  // Alibaba
		"168.63.129.16/32",    // Azure wire server
		"192.0.0.192/32",      // Oracle
		"fd00:ec2::254/128",   // AWS
		"fd00:ec2::253/128",   // AWS resolver
		"fd00:ec2::23/128",    // AWS EKS pod identity
		"fd20:ce::254/128",    // Google
		"fd00:42::42/128",     // Scaleway
		"fe80::a9fe:a9fe/128", // OpenStack, link-local form
	)
	privatePrefixes = prefixes(
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
		"100.64.0.0/10",   // RFC 6598
		"198.18.0.0/15",   // RFC 2544, and culvert's own plan
		"192.0.0.0/24",    // RFC 6890
		"192.0.2.0/24",    // RFC 5737
		"198.51.100.0/24", // RFC 5737
		"203.0.113.0/24",  // RFC 5737
		"240.0.0.0/4",     // RFC 1112
		"fc00::/7",        // RFC 4193
		"fec0::/10",       // RFC 3879
		"64:ff9b:1::/48",  // RFC 8215
		"100::/64",        // RFC 6666
		"2001:db8::/32",   // RFC 3849
		"3fff::/20",       // RFC 9637
		"5f00::/16",       // RFC 9602
	)
	// neverPrefixes are no host's address: this network, RFC 1122 §3.2.1.3.
	neverPrefixes = prefixes("0.0.0.0/8", "255.255.255.255/32", "::/128")
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func containsAny(list []netip.Prefix, ip netip.Addr) bool {
	for _, p := range list {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// holds reports whether prefix p lies in the class as a whole.
func (c addressClass) holds(p netip.Prefix, own []netip.Prefix) bool {
	list := c.prefixes()
	if c == classOwn {
		list = own
	}
	for _, q := range list {
		if q.Bits() <= p.Bits() && q.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// classesOf lists the classes of an address. A metadata address is only that,
// and a loopback address is not one's own: their own switches decide.
func classesOf(ip netip.Addr, own []netip.Prefix) []addressClass {
	switch {
	case containsAny(metadataPrefixes, ip):
		return []addressClass{classMetadata}
	case containsAny(loopbackPrefixes, ip):
		return []addressClass{classLoopback}
	}
	var out []addressClass
	for _, c := range []addressClass{classLinkLocal, classPrivate} {
		if containsAny(c.prefixes(), ip) {
			out = append(out, c)
		}
	}
	if containsAny(own, ip) {
		out = append(out, classOwn)
	}
	return out
}

// neverADestination says why no policy permits an address; empty if one may.
func neverADestination(ip netip.Addr) string {
	switch {
	case !ip.IsValid():
		return "no address"
	case containsAny(neverPrefixes, ip):
		return "unspecified or broadcast address"
	case ip.IsMulticast():
		return "multicast address"
	}
	return ""
}

// embeddedIPv4 is the IPv4 address that a translator or tunnel would reach for
// an IPv6 address: NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380: server
// and client), IPv4-compatible (RFC 4291 §2.5.5.1), ISATAP (RFC 5214). Mapped
// ones are unmapped before.
func embeddedIPv4(ip netip.Addr) []netip.Addr {
	if !ip.Is6() {
		return nil
	}
	b := ip.As16()
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(b[i : i+4])) }
	switch {
	case containsAny(nat64Prefixes, ip), containsAny(compatiblePrefixes, ip) && !ip.IsLoopback():
		return []netip.Addr{at(12)}
	case containsAny(sixToFourPrefixes, ip):
		return []netip.Addr{at(2)}
	case containsAny(teredoPrefixes, ip):
		client := at(12).As4()
		for i := range client {
			client[i] ^= 0xff
		}
		return []netip.Addr{at(4), netip.AddrFrom4(client)}
	case b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe:
		return []netip.Addr{at(12)}
	}
	return nil
}

var (
	nat64Prefixes      = prefixes("64:ff9b::/96", "64:ff9b:1::/96")
	compatiblePrefixes = prefixes("::/96")
	sixToFourPrefixes  = prefixes("2002::/16")
	teredoPrefixes     = prefixes("2001::/32")
)
