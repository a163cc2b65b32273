package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/resolver"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

func errMalformed(host string) error { return fmt.Errorf("malformed IP address: %s", host) }

// names resolves the names of a cluster when they are needed: the resolver
// keeps answers for their time. An answer that worked stays good while there is
// no newer one.
type names struct {
	resolver resolver.Resolver
	family   resolver.Family
	n        *counters

	mu   sync.Mutex
	last map[string][]netip.Addr // the last answer of each name
}

func newNames(m *clusterv3.Cluster, d Deps, n *counters) *names {
	return &names{resolver: d.Resolver, family: family(m.GetDnsLookupFamily()), n: n, last: make(map[string][]netip.Addr)}
}

func family(f clusterv3.Cluster_DnsLookupFamily) resolver.Family {
	switch f {
	case clusterv3.Cluster_V4_ONLY:
		return resolver.V4Only
	case clusterv3.Cluster_V6_ONLY:
		return resolver.V6Only
	case clusterv3.Cluster_V4_PREFERRED:
		return resolver.V4Preferred
	case clusterv3.Cluster_ALL:
		return resolver.All
	}
	return resolver.Auto
}

func (d *names) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	d.n.updateAttempt.Inc()
	addrs, err := d.resolver.Lookup(ctx, name, d.family)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.n.updateFailure.Inc()
		if old := d.last[name]; len(old) > 0 && ctx.Err() == nil {
			return old, nil
		}
		return nil, err
	}
	d.n.updateSuccess.Inc()
	d.last[name] = addrs
	return addrs, nil
}

// logicalDNS is a cluster of type LOGICAL_DNS: one name that is one endpoint,
// resolved anew for each connection.
type logicalDNS struct{ host host }

func newLogicalDNS(m *clusterv3.Cluster, n *counters) (*logicalDNS, error) {
	hosts, err := endpoints(m.GetLoadAssignment())
	if err != nil {
		return nil, err
	}
	if len(hosts) != 1 || len(m.GetLoadAssignment().GetEndpoints()) != 1 {
		return nil, field.Errorf("load_assignment", "LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint")
	}
	n.membershipTotal.Set(1)
	n.membershipHealthy.Set(1)
	return &logicalDNS{hosts[0]}, nil
}

func (l *logicalDNS) pick(context.Context, *codec.Request, *network.StreamInfo) (host, error) {
	return l.host, nil
}

// strictDNS is a cluster of type STRICT_DNS: every address of every name is an
// endpoint.
type strictDNS struct {
	cluster string
	hosts   []host
	names   *names
	turn    roundRobin
}

func newStrictDNS(m *clusterv3.Cluster, names *names) (*strictDNS, error) {
	hosts, err := endpoints(m.GetLoadAssignment())
	return &strictDNS{cluster: m.GetName(), hosts: hosts, names: names}, err
}

func (s *strictDNS) pick(ctx context.Context, _ *codec.Request, _ *network.StreamInfo) (host, error) {
	var all []host
	var errs []error
	for _, h := range s.hosts {
		if h.address.Kind != network.AddressName {
			all = append(all, h)
			continue
		}
		addrs, err := s.names.lookup(ctx, h.address.Host())
		errs = append(errs, err)
		for _, a := range addrs {
			resolved := h
			resolved.address = network.IPAddress(netip.AddrPortFrom(a, h.address.Port()))
			if resolved.name == "" {
				resolved.name = h.address.Host()
			}
			all = append(all, resolved)
		}
	}
	s.names.n.membershipTotal.Set(int64(len(all)))
	s.names.n.membershipHealthy.Set(int64(len(all)))
	h, ok := s.turn.of(all)
	if !ok {
		return host{}, &NoHostError{Cluster: s.cluster, Err: errors.Join(errs...)}
	}
	return h, nil
}
