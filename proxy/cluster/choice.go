package cluster

import (
	"net/netip"

	"culvert/proxy/network"
)

// choice is what guards the addresses that clients choose: the policy that the
// configuration gives, or a default.
type choice struct {
	policy *egressPolicy // nil: none is given
	own    func() []netip.Prefix
	admin  func() netip.AddrPort // no policy opens it
	// bound finds who serves an address inside a netstack, before any policy.
	bound func(netip.AddrPort) (network.Handler, bool)
}

// chosen is the policy for what a client chose. Without one, a request that
// came to a loopback listener may go to loopback: it came from there.
func (c choice) chosen(info *network.StreamInfo) *egressPolicy {
	switch {
	case c.policy != nil:
		return c.policy
	case arrivedOnLoopback(info):
		return &egressPolicy{permitted: classLoopback}
	}
	return &egressPolicy{}
}

// captured is the policy for where a captured flow was going anyhow.
func (c choice) captured() *egressPolicy {
	if c.policy != nil {
		return c.policy
	}
	return &egressPolicy{permitted: classLinkLocal | classMetadata | classPrivate | classOwn}
}

// check asks a policy of an address. The admin is never a client's to choose:
// whoever may talk to it connects to it.
func (c choice) check(p *egressPolicy) Check {
	return func(target netip.AddrPort) error {
		if a := c.admin(); a.IsValid() && a == netip.AddrPortFrom(target.Addr().WithZone("").Unmap(), target.Port()) {
			return prohibited(target, "the admin's address")
		}
		return p.check(target, c.own())
	}
}

// arrivedOnLoopback looks at the socket the outermost flow came in by; what was
// captured came by none.
func arrivedOnLoopback(info *network.StreamInfo) bool {
	for info.Parent != nil {
		info = info.Parent
	}
	if _, captured := info.FilterState.Lookup(network.StateDestination); captured {
		return false
	}
	a := info.DirectLocalAddress
	if a.IsZero() {
		a = info.LocalAddress
	}
	return a.Kind == network.AddressIP && a.IP.Addr().IsLoopback()
}
