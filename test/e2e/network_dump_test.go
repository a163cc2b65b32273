package e2e

import (
	"fmt"
	"slices"
	"testing"

	"culvert/test/topology"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// networkOf lists all of a host's links, addresses, routes of every table, and
// policy rules, a line each, sorted.
func networkOf(t *testing.T, h *topology.Host) []string {
	t.Helper()
	var lines []string
	if err := h.Do(func() error {
		nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer nl.Close()
		lines, err = dump(nl)
		return err
	}); err != nil {
		t.Fatalf("host %s: %v", h.Name(), err)
	}
	slices.Sort(lines)
	return lines
}

func dump(nl *netlink.Handle) (lines []string, err error) {
	links, err := nl.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		a := l.Attrs()
		lines = append(lines, fmt.Sprintf("link %d %s %s %v mtu %d", a.Index, a.Name, l.Type(), a.Flags, a.MTU))
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		addrs, err := nl.AddrList(nil, family)
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			lines = append(lines, fmt.Sprintf("address %v on link %d", a.IPNet, a.LinkIndex))
		}
		routes, err := nl.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			lines = append(lines, fmt.Sprintf("route %v", r))
		}
		rules, err := nl.RuleList(family)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			lines = append(lines, fmt.Sprintf("rule of family %d: %v protocol %d", family, r, r.Protocol))
		}
	}
	return lines, nil
}

// added is what is in now and not in before.
func added(before, now []string) (more []string) {
	for _, line := range now {
		if !slices.Contains(before, line) {
			more = append(more, line)
		}
	}
	return more
}
