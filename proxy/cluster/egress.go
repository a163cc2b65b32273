package cluster

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	culvertv1 "culvert/configs/culvert/v1"
	"culvert/configs/field"
	"culvert/proxy/network"
)

// egressPolicy says which addresses a client may choose. It is asked about the
// address that is dialled, so that no name that resolves twice can pass it. The
// zero policy permits public addresses only.
type egressPolicy struct {
	allow, deny []egressRange
	onlyAllowed bool
	permitted   addressClass // classes whose switch is on
}

type egressRange struct {
	prefix netip.Prefix
	ports  []portRange
}

type portRange struct{ first, last uint16 }

func newEgressPolicy(m *culvertv1.EgressPolicy) (*egressPolicy, error) {
	p := &egressPolicy{onlyAllowed: m.GetOnlyAllowed()}
	var err1, err2 error
	p.allow, err1 = newEgressRanges("allow", m.GetAllow())
	p.deny, err2 = newEgressRanges("deny", m.GetDeny())
	for class, on := range map[addressClass]bool{
		classLoopback:  m.GetAllowLoopback(),
		classLinkLocal: m.GetAllowLinkLocal(),
		classMetadata:  m.GetAllowMetadata(),
		classPrivate:   m.GetAllowPrivate(),
		classOwn:       m.GetAllowOwnAddresses(),
	} {
		if on {
			p.permitted |= class
		}
	}
	return p, field.Join(err1, err2)
}

func newEgressRanges(path string, list []*culvertv1.EgressRange) ([]egressRange, error) {
	var out []egressRange
	var errs []error
	for i, m := range list {
		r, err := newEgressRange(m)
		if err != nil {
			errs = append(errs, field.At(field.Index(path, i), err))
		}
		out = append(out, r)
	}
	return out, field.Join(errs...)
}

func newEgressRange(m *culvertv1.EgressRange) (egressRange, error) {
	var r egressRange
	prefix, err := parsePrefix(m.GetPrefix())
	if err != nil {
		return r, field.At("prefix", err)
	}
	r.prefix = prefix
	for i, p := range m.GetPorts() {
		last := p.GetLast()
		if last == 0 {
			last = p.GetFirst()
		}
		if last < p.GetFirst() {
			return r, field.Errorf(field.Index("ports", i), "last port %d is below the first, %d", last, p.GetFirst())
		}
		r.ports = append(r.ports, portRange{uint16(p.GetFirst()), uint16(last)})
	}
	return r, nil
}

// parsePrefix reads "address/length" or a bare address, which is one host.
func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		ip, err := netip.ParseAddr(s)
		if err != nil || ip.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is not an address or prefix", s)
		}
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not an address or prefix", s)
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

func (r egressRange) matches(ip netip.Addr, port uint16) bool {
	if !r.prefix.Contains(ip) {
		return false
	}
	for _, p := range r.ports {
		if p.first <= port && port <= p.last {
			return true
		}
	}
	return len(r.ports) == 0
}

// check permits or refuses a target; own lists this machine's own addresses.
// IPv4 inside IPv6 must pass as both.
func (p *egressPolicy) check(target netip.AddrPort, own []netip.Prefix) error {
	ip := target.Addr().WithZone("").Unmap()
	if why := p.refuses(ip, target.Port(), own); why != "" {
		return prohibited(target, why)
	}
	for _, inner := range embeddedIPv4(ip) {
		if why := p.refuses(inner, target.Port(), own); why != "" {
			return prohibited(target, why+", as "+inner.String())
		}
	}
	return nil
}

// errPolicy is in the chain of every refusal: the kernel's EPERM is another
// prohibition.
var errPolicy = errors.New("egress policy refuses")

func prohibited(target netip.AddrPort, why string) error {
	return network.WithReason(network.ReasonProhibited, fmt.Errorf("%w %s: %s", errPolicy, target, why))
}

// refuses says why, empty if it does not. The order is the message's.
func (p *egressPolicy) refuses(ip netip.Addr, port uint16, own []netip.Prefix) string {
	if why := neverADestination(ip); why != "" {
		return why
	}
	for _, r := range p.deny {
		if r.matches(ip, port) {
			return "denied by " + r.prefix.String()
		}
	}
	for _, class := range classesOf(ip, own) {
		if p.permitted&class == 0 && !p.opens(class, ip, port, own) {
			return class.String() + " address"
		}
	}
	if p.onlyAllowed && !p.allows(ip, port) {
		return "not among the allowed"
	}
	return ""
}

func (p *egressPolicy) allows(ip netip.Addr, port uint16) bool {
	for _, r := range p.allow {
		if r.matches(ip, port) {
			return true
		}
	}
	return false
}

// opens reports whether an entry of allow that lies in the class as a whole
// matches: 10.1.0.0/16 opens that private network, 0.0.0.0/0 opens none.
func (p *egressPolicy) opens(class addressClass, ip netip.Addr, port uint16, own []netip.Prefix) bool {
	for _, r := range p.allow {
		if r.matches(ip, port) && class.holds(r.prefix, own) {
			return true
		}
	}
	return false
}
