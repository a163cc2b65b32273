package netstack

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"culvert/configs/field"
	"culvert/proxy/network"
)

// Binding gives an internal listener the connections to a port of every address
// of a prefix.
type Binding struct {
	Prefix   netip.Prefix
	Port     uint16
	Listener string
}

// Bindings are the addresses inside a netstack at which internal listeners are
// found, by whoever connects to them: a captured program, or payload that comes
// out of a tunnel and names one as its target. They are immutable; nil binds
// nothing.
type Bindings struct {
	byPort   map[uint16][]Binding // longest prefix first
	prefixes []netip.Prefix       // each once
}

// NewBindings compiles bindings. Prefixes may lie within each other: the
// longest that has the port counts. Errors are field errors, with paths below
// the list.
func NewBindings(list []Binding) (*Bindings, error) {
	b := &Bindings{byPort: make(map[uint16][]Binding)}
	type place struct {
		netip.Prefix
		port uint16
	}
	first := make(map[place]int)
	var errs []error
	for i, x := range list {
		err := x.check()
		if err != nil {
			errs = append(errs, field.At(field.Index("", i), err))
			continue
		}
		if j, taken := first[place{x.Prefix, x.Port}]; taken {
			errs = append(errs, field.Errorf(field.Index("", i), "%s port %d is bound to listener %q already, by [%d]",
				x.Prefix, x.Port, list[j].Listener, j))
			continue
		}
		first[place{x.Prefix, x.Port}] = i
		b.add(x)
	}
	for _, l := range b.byPort {
		slices.SortStableFunc(l, func(x, y Binding) int { return y.Prefix.Bits() - x.Prefix.Bits() })
	}
	return b, field.Join(errs...)
}

func (b *Bindings) add(x Binding) {
	b.byPort[x.Port] = append(b.byPort[x.Port], x)
	if !slices.Contains(b.prefixes, x.Prefix) {
		b.prefixes = append(b.prefixes, x.Prefix)
	}
}

// check refuses what nobody could connect to.
func (x Binding) check() error {
	ip := x.Prefix.Addr()
	switch {
	case !x.Prefix.IsValid():
		return field.Errorf("address", "is not an address or a prefix")
	case ip.Is4In6():
		return field.Errorf("address", "%s is IPv4 in the clothes of IPv6: %s is meant", x.Prefix, ip.Unmap())
	case x.Prefix != x.Prefix.Masked():
		return field.Errorf("address", "%q has bits set behind its length: %v is meant", x.Prefix, x.Prefix.Masked())
	case ip.IsUnspecified() && x.Prefix.IsSingleIP(), ip.IsMulticast(), ip.IsLoopback():
		return field.Errorf("address", "nobody outside can connect to %s", x.Prefix)
	case x.Port == 0:
		return field.Errorf("port", "must be 1 to 65535")
	case x.Listener == "":
		return field.Errorf("listener", "names no internal listener")
	}
	return nil
}

// Lookup finds the listener of an address and port.
func (b *Bindings) Lookup(to netip.AddrPort) (listener string, ok bool) {
	if b == nil {
		return "", false
	}
	ip := to.Addr().WithZone("").Unmap()
	for _, x := range b.byPort[to.Port()] {
		if x.Prefix.Contains(ip) {
			return x.Listener, true
		}
	}
	return "", false
}

// Holds reports whether an address is bound, at whatever port.
func (b *Bindings) Holds(ip netip.Addr) bool {
	if b == nil {
		return false
	}
	ip = ip.WithZone("").Unmap()
	return slices.ContainsFunc(b.prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// Prefixes are the bound prefixes, each once. The caller must not change them.
func (b *Bindings) Prefixes() []netip.Prefix {
	if b == nil {
		return nil
	}
	return b.prefixes
}

// Handler is who serves flows to an address; false where it is not bound, and
// the way is another. At a bound address that has no listener at the port, or
// one that is gone, flows are refused: whatever else may have that address is
// not what was meant.
func (b *Bindings) Handler(to netip.AddrPort, lookup network.HandlerLookup) (network.Handler, bool) {
	name, ok := b.Lookup(to)
	if !ok {
		if !b.Holds(to.Addr()) {
			return nil, false
		}
		return refuse(network.ReasonConnectionRefused, fmt.Errorf("no listener is bound to port %d of %s", to.Port(), to.Addr())), true
	}
	if h, ok := lookup(name); ok {
		return h, true
	}
	return refuse(network.ReasonGateway, fmt.Errorf("no internal listener %q, which %s is bound to", name, to)), true
}

// refuse is a handler that only says no.
func refuse(r network.Reason, err error) network.Handler {
	err = network.WithReason(r, err)
	return network.HandlerFunc(func(_ context.Context, f network.Flow) error {
		f.Info().Fail(err)
		f.Reject(err)
		return err
	})
}
