package host

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Protocol marks the routes and rules culvert adds, so that they can be told
// from others' and found again ("ip route show proto 199"). The number is one
// that /etc/iproute2/rt_protos gives to nobody.
const Protocol = 199

// maxRoutes bounds what excluding prefixes may split the routes into: each
// excluded IPv6 address costs up to 128.
const maxRoutes = 4096

// Plan is what an existing interface shall have, and what shall lead to it.
type Plan struct {
	// Interface is the name of the interface, a TUN or a veth.
	Interface string
	// MTU in bytes and QueueLength in packets are left alone where 0.
	MTU, QueueLength int
	// Addresses with their prefix lengths. IPv6 addresses are usable at once,
	// without duplicate address detection.
	Addresses []netip.Prefix
	// NoLinkLocal keeps the kernel from making an IPv6 link-local address of its
	// own: a TUN needs none.
	NoLinkLocal bool
	// Routes lead into the interface. A prefix of length 0 outranks a default
	// route that is there already, by being added as its two halves.
	Routes []Route
	// Exclude are prefixes kept out of Routes. They are left to whatever other
	// routes exist: the plan's routes are split around them, since an extra
	// route for them would outlive a killed process.
	Exclude []netip.Prefix
	// Table is the routing table of Routes; 0 is the main table.
	Table int
	// Rules choose who looks into Table. With a Table and no rules, nobody does.
	Rules []Rule
}

// Route is one destination.
type Route struct {
	Prefix netip.Prefix
	// Gateway on the interface's network; invalid for a route straight into the
	// interface.
	Gateway netip.Addr
}

// Rule is a policy rule: who matches all that is set looks into Table. It is
// added for IPv4 and IPv6, unless From or To is of one family.
type Rule struct {
	// Priority orders rules, lower first; the kernel's own main rule is 32766.
	// It is required, and each priority belongs to one plan.
	Priority int
	// Mark and Mask select by firewall mark; both 0 for any, Mask 0 for all bits.
	Mark, Mask uint32
	// UIDs selects by the owner of the socket, inclusive.
	UIDs *UIDRange
	// From and To select by address; invalid for any.
	From, To netip.Prefix
	// Invert makes the rule match who does not match: with Mark, everybody but
	// the sockets that carry it.
	Invert bool
	// Table to look into; 0 means the plan's.
	Table int
}

// UIDRange is a range of user ids, both inclusive.
type UIDRange struct{ First, Last uint32 }

func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:", r.Priority)
	if r.Invert {
		b.WriteString(" not")
	}
	if r.From.IsValid() {
		fmt.Fprintf(&b, " from %v", r.From)
	}
	if r.To.IsValid() {
		fmt.Fprintf(&b, " to %v", r.To)
	}
	if r.Mark != 0 || r.Mask != 0 {
		fmt.Fprintf(&b, " fwmark %#x", r.Mark)
	}
	if r.UIDs != nil {
		fmt.Fprintf(&b, " uidrange %d-%d", r.UIDs.First, r.UIDs.Last)
	}
	fmt.Fprintf(&b, " lookup %d", r.Table)
	return b.String()
}

// Leads reports whether a route of the plan covers a and nothing excludes it.
func (p *Plan) Leads(a netip.Addr) bool {
	contains := func(x netip.Prefix) bool { return x.Contains(a) }
	return !slices.ContainsFunc(p.Exclude, contains) &&
		slices.ContainsFunc(p.Routes, func(r Route) bool { return contains(r.Prefix) })
}

// LeadsSomewhere reports whether any route of the plan is left behind what it
// excludes.
func (p *Plan) LeadsSomewhere() bool {
	return slices.ContainsFunc(p.Routes, func(r Route) bool { return len(subtract(r.Prefix, p.Exclude)) > 0 })
}

// check finds what no kernel could make of the plan.
func (p *Plan) check() error {
	var errs []error
	if p.Interface == "" || len(p.Interface) > maxName || strings.ContainsAny(p.Interface, "/ \t\n") {
		errs = append(errs, fmt.Errorf("interface name %q: must be 1 to %d characters without / or spaces", p.Interface, maxName))
	}
	for _, a := range p.Addresses {
		if !a.IsValid() {
			errs = append(errs, errors.New("an address is not valid"))
		}
	}
	for _, r := range p.Routes {
		if !r.Prefix.IsValid() {
			errs = append(errs, errors.New("the prefix of a route is not valid"))
		} else if r.Gateway.IsValid() && r.Gateway.Is4() != r.Prefix.Addr().Is4() {
			errs = append(errs, fmt.Errorf("route %v: gateway %v is of the other family", r.Prefix, r.Gateway))
		}
	}
	for i, r := range p.Rules {
		switch {
		case r.Priority <= 0 || r.Priority >= mainRule:
			errs = append(errs, fmt.Errorf("rule %d: priority %d must be between 1 and %d", i, r.Priority, mainRule-1))
		case r.Table == 0 && p.Table == 0:
			errs = append(errs, fmt.Errorf("rule %d: no table", i))
		case r.From.IsValid() && r.To.IsValid() && r.From.Addr().Is4() != r.To.Addr().Is4():
			errs = append(errs, fmt.Errorf("rule %d: from and to are of different families", i))
		}
	}
	return errors.Join(errs...)
}

const (
	// maxName is IFNAMSIZ without its terminating zero.
	maxName = 15
	// mainRule is the priority of the kernel's rule for the main table.
	mainRule = 32766
)
