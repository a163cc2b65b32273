package resolver

import "net/netip"

// Family says which addresses of a name are wanted, as Envoy's
// dns_lookup_family does.
type Family uint8

// The families.
const (
	// Auto: IPv6 addresses if there are any, else IPv4.
	Auto Family = iota
	// V4Only and V6Only: that family or nothing.
	V4Only
	V6Only
	// V4Preferred: IPv4 addresses if there are any, else IPv6.
	V4Preferred
	// All: both families, in the order the system prefers them.
	All
)

// String is Envoy's name of the family.
func (f Family) String() string {
	return [...]string{"AUTO", "V4_ONLY", "V6_ONLY", "V4_PREFERRED", "ALL"}[f]
}

// network is what net.Resolver is asked for.
func (f Family) network() string {
	switch f {
	case V4Only:
		return "ip4"
	case V6Only:
		return "ip6"
	}
	return "ip"
}

// pick keeps the addresses f wants, unmapped and each once.
func (f Family) pick(addrs []netip.Addr) []netip.Addr {
	var v4, v6, all []netip.Addr
	seen := make(map[netip.Addr]bool, len(addrs))
	for _, a := range addrs {
		a = a.Unmap()
		if seen[a] {
			continue
		}
		seen[a] = true
		all = append(all, a)
		if a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	switch {
	case f == V4Only, f == V4Preferred && len(v4) > 0, f == Auto && len(v6) == 0:
		return v4
	case f == V6Only, f == Auto, f == V4Preferred:
		return v6
	}
	return all
}
