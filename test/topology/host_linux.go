package topology

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"culvert/appliance/host"
)

// Host is one network namespace. What fails that a test relies on fails the
// test; Dial and Do return their errors, which are what tests are about.
type Host struct {
	*host.Namespace
	t       testing.TB
	name    string
	starter *starter
}

// Name is what the topology calls the host.
func (h *Host) Name() string { return h.name }

func (h *Host) check(what string, err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("host %s: %s: %v", h.name, what, err)
	}
}

// apply puts a plan in force until the test ends.
func (h *Host) apply(p host.Plan) {
	h.t.Helper()
	applied, err := host.Apply(context.Background(), h.Namespace, p)
	h.check("configure "+p.Interface, err)
	h.t.Cleanup(func() { _ = applied.Undo() })
}

// Default adds default routes by way of gateways, one a family, each on a
// network of this host.
func (h *Host) Default(gateways ...string) {
	h.t.Helper()
	for _, g := range gateways {
		any := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if h.addr(g).Is6() {
			any = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		h.Route(any.String(), g)
	}
}

// Route adds a route to prefix by way of a gateway on a network of this host.
func (h *Host) Route(prefix, gateway string) {
	h.t.Helper()
	h.check("route "+prefix+" via "+gateway, addRoute(h.Namespace, h.prefix(prefix), h.addr(gateway), unicast))
}

// Forward makes the host a router.
func (h *Host) Forward() {
	h.t.Helper()
	h.check("forward", h.Sysctl("ipv4/ip_forward", "1"))
	// A kernel without IPv6 has nothing to forward of it.
	_ = h.Sysctl("ipv6/conf/all/forwarding", "1")
}

// Unreachable makes the host, as a router, answer whatever is sent to the
// prefixes with ICMP host unreachable (IPv6: no route).
func (h *Host) Unreachable(prefixes ...string) { h.t.Helper(); h.refuse(unreachable, prefixes) }

// Prohibited makes the host, as a router, answer whatever is sent to the
// prefixes with ICMP administratively prohibited.
func (h *Host) Prohibited(prefixes ...string) { h.t.Helper(); h.refuse(prohibit, prefixes) }

// Silent makes the host, as a router, drop whatever is sent to the prefixes.
func (h *Host) Silent(prefixes ...string) { h.t.Helper(); h.refuse(blackhole, prefixes) }

// refuse also makes h a router: one that does not forward says nothing.
func (h *Host) refuse(kind routeKind, prefixes []string) {
	h.t.Helper()
	h.Forward()
	for _, p := range prefixes {
		h.check("refuse "+p, addRoute(h.Namespace, h.prefix(p), netip.Addr{}, kind))
	}
}

// Listen opens a listening socket on the host, closed when the test ends.
func (h *Host) Listen(network, address string) net.Listener {
	h.t.Helper()
	ln, err := h.Namespace.Listen(context.Background(), network, address)
	h.check("listen", err)
	h.t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// ListenPacket opens a UDP socket on the host, closed when the test ends.
func (h *Host) ListenPacket(network, address string) net.PacketConn {
	h.t.Helper()
	pc, err := h.Namespace.ListenPacket(context.Background(), network, address)
	h.check("listen", err)
	h.t.Cleanup(func() { _ = pc.Close() })
	return pc
}

// Dial connects from the host. It ends with the test at the latest;
// DialContext is for less patience. The caller closes the connection.
func (h *Host) Dial(network, address string) (net.Conn, error) {
	return h.DialContext(h.t.Context(), network, address)
}
