package topology

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"culvert/appliance/host"
	"culvert/test/need"
)

// Topology is the hosts of one test.
type Topology struct {
	t       testing.TB
	hosts   map[string]*Host
	starter *starter
}

// New starts an empty topology. The test is skipped where it may not make
// network namespaces.
func New(t testing.TB) *Topology {
	t.Helper()
	need.Netns(t)
	return &Topology{t: t, hosts: map[string]*Host{}, starter: newStarter(t)}
}

// Host is the host of that name, made at the first call: with lo up, linked to
// nothing.
func (top *Topology) Host(name string) *Host {
	top.t.Helper()
	if h, ok := top.hosts[name]; ok {
		return h
	}
	ns, err := host.NewNamespace()
	if err != nil {
		top.t.Fatalf("host %s: %v", name, err)
	}
	top.t.Cleanup(func() { _ = ns.Close() })
	h := &Host{Namespace: ns, t: top.t, name: name, starter: top.starter}
	h.check("bring up lo", ns.LoopbackUp())
	h.check("prepare", prepare(ns))
	top.hosts[name] = h
	return h
}

// prepare makes the kernel as prompt as a test wants it.
func prepare(ns *host.Namespace) error {
	if err := ns.Sysctl("ipv4/icmp_ratemask", "0"); err != nil { // limit no ICMP type
		return err
	}
	if ns.Sysctl("ipv6/icmp/ratemask", "\n") != nil { // the empty list of types
		return nil // no IPv6 in this kernel
	}
	// Else a router's link-local address is not usable for two seconds, and until
	// then it looks for no neighbour and forwards nothing. (dad_transmits 0 would
	// leave a random delay of up to a second.)
	return ns.Sysctl("ipv6/conf/default/accept_dad", "0")
}

// Link joins a and b with a wire. The addresses, with their prefix lengths, are
// a's and b's by turns. The interface is named for the host at its other end;
// a second wire between two hosts gets a number.
func (top *Topology) Link(a, b *Host, addresses ...string) {
	top.t.Helper()
	if len(addresses)%2 != 0 {
		top.t.Fatalf("link %s to %s: addresses must come in pairs", a.name, b.name)
	}
	ofA, ofB := a.interfaceTo(b), b.interfaceTo(a)
	a.check("link to "+b.name, host.VethPair(a.Namespace, ofA, b.Namespace, ofB))
	planA, planB := host.Plan{Interface: ofA}, host.Plan{Interface: ofB}
	for i := 0; i < len(addresses); i += 2 {
		planA.Addresses = append(planA.Addresses, a.prefix(addresses[i]))
		planB.Addresses = append(planB.Addresses, b.prefix(addresses[i+1]))
	}
	a.apply(planA)
	b.apply(planB)
	a.awaitCarrier(ofA)
	b.awaitCarrier(ofB)
	for _, p := range planB.Addresses {
		a.meet(p.Addr())
	}
}

// meet lets two hosts find each other on their wire. The first IPv6 neighbour
// solicitation on a new one may be lost, and the next follows after a second:
// better here than within what a test measures.
func (h *Host) meet(other netip.Addr) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), carrierTimeout)
	defer cancel()
	// Nobody listens yet: any answer, which is a refusal, will do.
	c, err := h.DialContext(ctx, "tcp", netip.AddrPortFrom(other, 1).String())
	if err == nil {
		_ = c.Close()
	}
	if ctx.Err() != nil {
		h.t.Fatalf("host %s: %v does not answer: %v", h.name, other, err)
	}
}

// awaitCarrier waits until the kernel has noticed that the wire is plugged in
// at both ends. It does so from a work queue, up to a second later, and until
// then drops what is sent.
func (h *Host) awaitCarrier(name string) {
	h.t.Helper()
	deadline := time.Now().Add(carrierTimeout)
	for {
		up, err := carrier(h.Namespace, name)
		h.check("look at "+name, err)
		if up {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("host %s: %s has no carrier after %v", h.name, name, carrierTimeout)
		}
		time.Sleep(time.Millisecond) // the kernel's state, asked for again
	}
}

const carrierTimeout = time.Minute

// interfaceTo is a free name for an interface of h that leads to other.
func (h *Host) interfaceTo(other *Host) string {
	const max = 15 - 2 // IFNAMSIZ, and room for a number
	name := other.name
	if len(name) > max {
		name = name[:max]
	}
	for i := 0; ; i++ {
		try := name
		if i > 0 {
			try = fmt.Sprintf("%s%d", name, i)
		}
		taken, err := h.HasLink(try)
		h.check("look for "+try, err)
		if !taken {
			return try
		}
	}
}

func (h *Host) prefix(s string) netip.Prefix {
	h.t.Helper()
	p, err := netip.ParsePrefix(s)
	h.check("parse", err)
	return p
}

func (h *Host) addr(s string) netip.Addr {
	h.t.Helper()
	a, err := netip.ParseAddr(s)
	h.check("parse", err)
	return a
}
