package appliance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"culvert/appliance/host"
	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/transport"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// loops finds clusters whose own connections could enter the TUN, with the TUN
// in the namespace that culvert's own sockets are in. One such connection is
// captured and makes the next: a single request grew to a thousand flows within
// a second. So what cannot be told before a flow is there (names, and
// destinations that flows bring along) counts as anywhere that a route leads.
// With a mark, a rule passes our sockets by: ours, or the operator's.
func (s *tunSpec) loops(clusters []*clusterv3.Cluster) error {
	if s.none || s.mark != 0 {
		return nil
	}
	for _, c := range clusters {
		if to, ok := s.captured(c); ok {
			return field.WithFix(field.Errorf("routes", "culvert's own connections to %s of cluster %q would enter this TUN", to, c.GetName()),
				"set table and mark, make the device in another netns, or exclude what the cluster reaches with exclude_routes")
		}
	}
	return nil
}

// captured says which destination of the cluster a route of the TUN may lead
// to it. Where connections go to a proxy instead, that is the destination.
func (s *tunSpec) captured(c *clusterv3.Cluster) (to string, ok bool) {
	if proxy, ok := transport.Detour(c.GetTransportSocket(), nil, nil); ok && chosenByFlows(c) {
		return s.capturedProxy(proxy)
	}
	switch anywhere := s.leadsSomewhere(); {
	case !anywhere && chosenByFlows(c):
		return "", false
	case c.GetType() == clusterv3.Cluster_ORIGINAL_DST && c.GetClusterType() == nil:
		return "the original destinations", true
	case c.GetClusterType() != nil:
		return "the destinations that requests name", true
	}
	for _, l := range c.GetLoadAssignment().GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			if proxy, ok := transport.Detour(c.GetTransportSocket(), e.GetMetadata(), l.GetMetadata()); ok {
				if to, ok := s.capturedProxy(proxy); ok {
					return to, true
				}
				continue
			}
			for _, a := range addressesOf(e.GetEndpoint().GetAddress(), e.GetEndpoint().GetAdditionalAddresses()) {
				if s.leadsTo(a) {
					return a, true
				}
			}
		}
	}
	return "", false
}

// chosenByFlows reports a cluster whose destinations flows bring along.
func chosenByFlows(c *clusterv3.Cluster) bool {
	return c.GetType() == clusterv3.Cluster_ORIGINAL_DST || c.GetClusterType() != nil
}

// capturedProxy is captured of a proxy; one that is unset is another cluster's,
// which is looked at itself.
func (s *tunSpec) capturedProxy(proxy network.Address) (to string, ok bool) {
	switch proxy.Kind {
	case network.AddressIP, network.AddressName:
		return proxy.Host(), s.leadsTo(proxy.Host())
	}
	return "", false
}

// leadsTo reports whether the endpoint may be behind a route of the TUN.
func (s *tunSpec) leadsTo(endpoint string) bool {
	ip, err := netip.ParseAddr(endpoint)
	if err != nil { // a name is anywhere, but the one that RFC 6761 gives to the loopback
		return endpoint != "" && !strings.EqualFold(endpoint, "localhost") && s.leadsSomewhere()
	}
	return !ip.IsLoopback() && s.plan.Leads(ip.Unmap().WithZone(""))
}

// leadsSomewhere reports whether a route leads to the TUN from where nothing is
// bound inside: what is bound has its own handler and goes no further out.
func (s *tunSpec) leadsSomewhere() bool {
	p := host.Plan{Routes: s.plan.Routes, Exclude: slices.Clone(s.plan.Exclude)}
	for _, b := range s.bindings {
		p.Exclude = append(p.Exclude, b.Prefix)
	}
	return p.LeadsSomewhere()
}

func addressesOf[A interface{ GetAddress() *corev3.Address }](first *corev3.Address, more []A) []string {
	out := []string{first.GetSocketAddress().GetAddress()}
	for _, m := range more {
		out = append(out, m.GetAddress().GetSocketAddress().GetAddress())
	}
	return out
}

// loopsAtHome is loops for a TUN whose netns has proved to be the namespace
// that culvert is in.
func (s *tunSpec) loopsAtHome(clusters []*clusterv3.Cluster) error {
	if err := s.loops(clusters); err != nil {
		return fmt.Errorf("netns %s is the namespace culvert is in: %w", s.netns, err)
	}
	return nil
}
