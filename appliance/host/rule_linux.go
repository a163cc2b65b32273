package host

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// removeStale removes the rules that a killed process left at the plan's
// priorities: ours by their protocol, and looking into a table in which no
// route of ours leads to an interface. The kernel removed those routes with the
// TUN; it keeps rules for ever. A rule of a culvert that lives is a conflict.
func (w *worker) removeStale() error {
	if len(w.plan.Rules) == 0 {
		return nil
	}
	mine := map[int]bool{}
	for _, r := range w.plan.Rules {
		mine[r.Priority] = true
	}
	for _, fam := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rules, err := w.h.RuleList(fam)
		if err != nil {
			continue // a kernel without policy rules says so when one is added
		}
		for i := range rules {
			r := &rules[i]
			if r.Protocol != Protocol || !mine[r.Priority] {
				continue
			}
			if err := w.removeStaleRule(r, fam); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *worker) removeStaleRule(r *netlink.Rule, fam int) error {
	object := fmt.Sprintf("%d (table %d)", r.Priority, r.Table)
	live, err := w.h.RouteListFiltered(fam, &netlink.Route{Table: r.Table, Protocol: Protocol},
		netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return &Error{Op: "look whose is rule", Object: object, Err: err, Fix: fixFor(err)}
	}
	for _, route := range live {
		if route.LinkIndex != 0 {
			return &Error{Op: "add rule", Object: object, Err: unix.EADDRINUSE,
				Fix: "another culvert uses this rule priority: give this one another rule_priority and table"}
		}
	}
	// Del compares what the kernel lists, family included.
	r.Family = fam
	if err := w.h.RuleDel(r); err != nil && !gone(err) {
		return &Error{Op: "remove stale rule", Object: object, Err: err, Fix: fixFor(err)}
	}
	return nil
}

func (w *worker) addRules() error {
	for _, r := range w.plan.Rules {
		if r.Table == 0 {
			r.Table = w.table()
		}
		for _, fam := range ruleFamilies(r) {
			rule := kernelRule(r, fam)
			err := w.step("add rule", r.String(), func() error { return w.h.RuleAdd(rule) },
				"remove rule", func() error { return w.h.RuleDel(rule) })
			if errors.Is(err, unix.EAFNOSUPPORT) && !r.From.IsValid() && !r.To.IsValid() {
				continue // a kernel without IPv6 needs no rule for it
			}
			var e *Error
			if errors.As(err, &e) && errors.Is(err, unix.EINVAL) && r.UIDs != nil {
				e.Fix = "in a user namespace, a rule can name only the user ids that are mapped into it"
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func ruleFamilies(r Rule) []int {
	switch {
	case r.From.IsValid():
		return []int{family(r.From.Addr())}
	case r.To.IsValid():
		return []int{family(r.To.Addr())}
	}
	return []int{netlink.FAMILY_V4, netlink.FAMILY_V6}
}

func kernelRule(r Rule, fam int) *netlink.Rule {
	k := netlink.NewRule()
	k.Family = fam
	k.Priority = r.Priority
	k.Table = r.Table
	k.Protocol = Protocol
	k.Invert = r.Invert
	if r.Mark != 0 || r.Mask != 0 {
		k.Mark = r.Mark
		mask := r.Mask
		if mask == 0 {
			mask = ^uint32(0)
		}
		k.Mask = &mask
	}
	if r.UIDs != nil {
		k.UIDRange = netlink.NewRuleUIDRange(r.UIDs.First, r.UIDs.Last)
	}
	if r.From.IsValid() {
		k.Src = ipNet(r.From)
	}
	if r.To.IsValid() {
		k.Dst = ipNet(r.To)
	}
	return k
}
