package host

import (
	"fmt"
	"net/netip"
)

// subtract is the least set of prefixes that covers what is in p and in none of
// the excluded.
func subtract(p netip.Prefix, excluded []netip.Prefix) []netip.Prefix {
	p = p.Masked()
	overlaps := false
	for _, e := range excluded {
		switch {
		case !e.IsValid() || !p.Overlaps(e):
		case e.Bits() <= p.Bits():
			return nil // e covers p
		default:
			overlaps = true
		}
	}
	if !overlaps {
		return []netip.Prefix{p}
	}
	low, high := halves(p)
	return append(subtract(low, excluded), subtract(high, excluded)...)
}

// halves splits a prefix that is not a single address.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	bit := p.Bits()
	addr := p.Masked().Addr()
	low = netip.PrefixFrom(addr, bit+1)
	b := addr.AsSlice()
	b[bit/8] |= 0x80 >> (bit % 8)
	other, _ := netip.AddrFromSlice(b)
	return low, netip.PrefixFrom(other, bit+1)
}

// split is the plan's routes without what is excluded. Where hasDefault says
// that the family (IPv4?) has a default route already, prefixes of length 0
// become their halves, which outrank it whatever its metric.
func (p *Plan) split(hasDefault func(is4 bool) bool) ([]Route, error) {
	var out []Route
	for _, r := range p.Routes {
		for _, left := range subtract(r.Prefix, p.Exclude) {
			if left.Bits() == 0 && hasDefault(left.Addr().Is4()) {
				low, high := halves(left)
				out = append(out, Route{Prefix: low, Gateway: r.Gateway}, Route{Prefix: high, Gateway: r.Gateway})
				continue
			}
			out = append(out, Route{Prefix: left, Gateway: r.Gateway})
		}
		if len(out) > maxRoutes {
			return nil, fmt.Errorf("the excluded prefixes split the routes into more than %d: exclude larger prefixes", maxRoutes)
		}
	}
	return out, nil
}
