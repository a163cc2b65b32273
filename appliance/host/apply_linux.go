package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Applied is a plan in force.
type Applied struct {
	ns   *Namespace // the caller's, which outlives it
	plan Plan
	h    *netlink.Handle
	// undo are the steps back, in the order the steps were made; nil once undone.
	undo []undoStep
}

type undoStep struct {
	op, object string
	run        func() error
}

// Apply makes the interface and what leads to it as the plan says, in the
// order link, addresses, routes, rules, so that nothing is led to an interface
// that cannot take it. If a step fails, or ctx ends, the steps before it are
// undone and the error, an *Error where the kernel refused, names the step.
// What is there already as planned is left, and is not undone later.
func Apply(ctx context.Context, n *Namespace, p Plan) (*Applied, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("plan for %s: %w", p.Interface, err)
	}
	h, err := n.handle()
	if err != nil {
		return nil, err
	}
	w := &worker{ctx: ctx, h: h, plan: &p, applied: &Applied{ns: n, plan: p, h: h}}
	if err := w.run(); err != nil {
		return nil, errors.Join(err, w.applied.Undo())
	}
	return w.applied, nil
}

// Undo takes back what Apply changed, last first; what is gone already, with
// its interface or by another hand, is as it should be. All steps are tried,
// and the errors of those that failed are joined. A second Undo does nothing.
func (a *Applied) Undo() error {
	if a.h == nil {
		return nil
	}
	var errs []error
	for i := len(a.undo) - 1; i >= 0; i-- {
		s := a.undo[i]
		if err := s.run(); err != nil && !gone(err) {
			errs = append(errs, &Error{Op: s.op, Object: s.object, Err: err, Fix: fixFor(err)})
		}
	}
	a.h.Close()
	a.h, a.undo = nil, nil
	return errors.Join(errs...)
}

// worker carries one Apply.
type worker struct {
	ctx     context.Context
	h       *netlink.Handle
	plan    *Plan
	link    netlink.Link
	applied *Applied
	made    []string // steps, in words
	again   bool     // the plan is in force, and something of it was taken away
}

func (w *worker) run() error {
	link, err := w.h.LinkByName(w.plan.Interface)
	if err != nil {
		return &Error{Op: "find interface", Object: w.plan.Interface, Err: err,
			Fix: "it must exist in this network namespace"}
	}
	w.link = link
	for _, part := range []func() error{w.removeStale, w.setLink, w.addAddresses, w.addRoutes, w.addRules} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// step makes one change and remembers its way back (nil: there is none to
// take). A change that is refused with EEXIST is as planned already.
func (w *worker) step(op, object string, do func() error, undoOp string, undo func() error) error {
	if err := context.Cause(w.ctx); err != nil {
		return fmt.Errorf("%s %s: %w", op, object, err)
	}
	switch err := do(); {
	case errors.Is(err, unix.EEXIST):
		return nil
	case err != nil:
		return &Error{Op: op, Object: object, Err: err, Fix: fixFor(err)}
	}
	w.made = append(w.made, op+" "+object)
	if undo != nil {
		w.remember(undoStep{undoOp, object, undo})
	}
	return nil
}

// remember keeps the way back of a step. One that is made again has its way
// already.
func (w *worker) remember(s undoStep) {
	same := func(x undoStep) bool { return x.op == s.op && x.object == s.object }
	if w.again && slices.ContainsFunc(w.applied.undo, same) {
		return
	}
	w.applied.undo = append(w.applied.undo, s)
}

func (w *worker) setLink() error {
	name, was := w.plan.Interface, w.link.Attrs()
	set := func(what string, from, to int, fn func(netlink.Link, int) error) error {
		if to == 0 || to == from {
			return nil
		}
		return w.step("set "+what+" of", name, func() error { return fn(w.link, to) },
			"restore "+what+" of", func() error { return fn(w.link, from) })
	}
	if err := set("MTU", was.MTU, w.plan.MTU, w.h.LinkSetMTU); err != nil {
		return err
	}
	if err := set("queue length", was.TxQLen, w.plan.QueueLength, w.h.LinkSetTxQLen); err != nil {
		return err
	}
	if was.Flags&net.FlagUp != 0 {
		return nil
	}
	if w.plan.NoLinkLocal {
		const none = 1 // IN6_ADDR_GEN_MODE_NONE
		// A kernel without IPv6 refuses, and needs it not.
		if err := w.h.LinkSetIP6AddrGenMode(w.link, none); err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
			return &Error{Op: "turn off link-local addresses of", Object: name, Err: err, Fix: fixFor(err)}
		}
	}
	return w.step("bring up", name, func() error { return w.h.LinkSetUp(w.link) },
		"bring down", func() error { return w.h.LinkSetDown(w.link) })
}

func (w *worker) addAddresses() error {
	for _, p := range w.plan.Addresses {
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			// Without it the address cannot be bound for a second or two.
			a.Flags = unix.IFA_F_NODAD
		}
		err := w.step("add address", fmt.Sprintf("%v to %s", p, w.plan.Interface),
			func() error { return w.h.AddrAdd(w.link, a) },
			"remove address", func() error { return w.h.AddrDel(w.link, a) })
		if err != nil {
			var e *Error
			if errors.As(err, &e) && p.Addr().Is6() && errors.Is(err, unix.EACCES) {
				e.Fix = "IPv6 is off on this interface: set net.ipv6.conf." + w.plan.Interface + ".disable_ipv6 to 0"
			}
			return err
		}
	}
	return nil
}

func (w *worker) addRoutes() error {
	routes, err := w.plan.split(w.hasDefault)
	if err != nil {
		return fmt.Errorf("routes to %s: %w", w.plan.Interface, err)
	}
	for _, r := range routes {
		route := w.route(r)
		err := w.step("add route", routeName(r, w.plan),
			func() error { return w.addRoute(route) },
			"remove route", func() error { return w.h.RouteDel(route) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) route(r Route) *netlink.Route {
	route := &netlink.Route{
		LinkIndex: w.link.Attrs().Index,
		Dst:       ipNet(r.Prefix),
		Protocol:  Protocol,
		Table:     w.table(),
		Family:    family(r.Prefix.Addr()),
	}
	if r.Gateway.IsValid() {
		route.Gw = r.Gateway.AsSlice()
	} else if r.Prefix.Addr().Is4() {
		route.Scope = netlink.SCOPE_LINK
	}
	if r.Prefix.Addr().Is6() {
		route.Priority = 1 // 0 would become 1024, that of everybody else
	}
	return route
}

// addRoute adds a route. One that is there already and leads elsewhere is a
// conflict, not a route as planned.
func (w *worker) addRoute(route *netlink.Route) error {
	err := w.h.RouteAdd(route)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	same, lerr := w.h.RouteListFiltered(route.Family, route,
		netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF)
	if lerr == nil && len(same) > 0 {
		return err
	}
	return fmt.Errorf("another route has this destination and metric: %w", unix.EADDRINUSE)
}

func (w *worker) table() int {
	if w.plan.Table != 0 {
		return w.plan.Table
	}
	return unix.RT_TABLE_MAIN
}

// hasDefault reports whether the plan's table has a default route of the family
// that is not through the plan's interface.
func (w *worker) hasDefault(is4 bool) bool {
	fam := netlink.FAMILY_V6
	if is4 {
		fam = netlink.FAMILY_V4
	}
	routes, err := w.h.RouteListFiltered(fam, &netlink.Route{Table: w.table()}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return false
	}
	for _, r := range routes {
		ones := 0
		if r.Dst != nil {
			ones, _ = r.Dst.Mask.Size()
		}
		if ones == 0 && r.LinkIndex != w.link.Attrs().Index {
			return true
		}
	}
	return false
}

func routeName(r Route, p *Plan) string {
	s := r.Prefix.String()
	if r.Gateway.IsValid() {
		s += " via " + r.Gateway.String()
	}
	s += " dev " + p.Interface
	if p.Table != 0 {
		s += fmt.Sprintf(" table %d", p.Table)
	}
	return s
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}
