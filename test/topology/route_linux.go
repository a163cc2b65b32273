package topology

import (
	"net"
	"net/netip"

	"culvert/appliance/host"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeKind is what a route does with a packet.
type routeKind int

const (
	unicast     routeKind = unix.RTN_UNICAST
	blackhole   routeKind = unix.RTN_BLACKHOLE
	unreachable routeKind = unix.RTN_UNREACHABLE
	prohibit    routeKind = unix.RTN_PROHIBIT
)

// carrier reports whether an interface is up and so is the other end.
func carrier(ns *host.Namespace, name string) (up bool, err error) {
	err = withNetlink(ns, func(nl *netlink.Handle) error {
		link, err := nl.LinkByName(name)
		up = err == nil && link.Attrs().OperState == netlink.OperUp
		return err
	})
	return up, err
}

// addRoute adds a route that goes with the namespace, not before.
func addRoute(ns *host.Namespace, to netip.Prefix, via netip.Addr, kind routeKind) error {
	return withNetlink(ns, func(nl *netlink.Handle) error {
		to = to.Masked()
		r := &netlink.Route{
			Dst:  &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())},
			Type: int(kind),
		}
		if via.IsValid() {
			r.Gw = via.AsSlice()
		}
		return nl.RouteAdd(r)
	})
}

func withNetlink(ns *host.Namespace, fn func(*netlink.Handle) error) error {
	return ns.Do(func() error {
		nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer nl.Close()
		return fn(nl)
	})
}
