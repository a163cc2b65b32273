package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/resolver"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

// Envoy's defaults.
const (
	// defaultRefresh is dns_refresh_rate.
	defaultRefresh = 5 * time.Second
	// defaultFailure is how long the failure of a name is believed: less than
	// Envoy's, since a name is asked for only when it is needed.
	defaultFailure = time.Second
)

func errMalformed(host string) error { return fmt.Errorf("malformed IP address: %s", host) }

// newNames makes the cache of the names that a cluster's endpoints have.
func newNames(m *clusterv3.Cluster, c *Cluster) (*nameCache, error) {
	s := nameSettings{
		family: family(m.GetDnsLookupFamily()), refresh: defaultRefresh, useTTL: m.GetRespectDnsTtl(),
		failureBase: defaultFailure, failureMax: defaultRefresh,
	}
	if d := m.GetDnsRefreshRate(); d != nil {
		s.refresh = d.AsDuration()
		s.failureBase = min(s.failureBase, s.refresh)
		s.failureMax = s.refresh
	}
	err := s.failureRate(m.GetDnsFailureRefreshRate())
	return newNameCache(c.deps.Resolver, s, nameCounts{
		attempt: c.n.updateAttempt, success: c.n.updateSuccess, failure: c.n.updateFailure,
	}, c.spawn), field.At("dns_failure_refresh_rate", err)
}

// failureRate takes how long failures are believed, from base to max.
func (s *nameSettings) failureRate(m *clusterv3.Cluster_RefreshRate) error {
	if m == nil {
		return nil
	}
	s.failureBase = m.GetBaseInterval().AsDuration()
	s.failureMax = 10 * s.failureBase
	if d := m.GetMaxInterval(); d != nil {
		s.failureMax = d.AsDuration()
	}
	if s.failureMax < s.failureBase {
		return field.Errorf("max_interval", "must be at least base_interval")
	}
	return nil
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

// logicalDNS is a cluster of type LOGICAL_DNS: one name that is one endpoint,
// whatever addresses it has at the time of a connect.
type logicalDNS struct {
	cluster string
	members *membership
}

func newLogicalDNS(m *clusterv3.Cluster, p balancer, n *counters) (*logicalDNS, error) {
	hosts, err := endpoints(m.GetLoadAssignment())
	if err != nil {
		return nil, err
	}
	if len(hosts) != 1 || len(m.GetLoadAssignment().GetEndpoints()) != 1 {
		return nil, field.Errorf("load_assignment", "LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint")
	}
	if h := hosts[0]; h.name == "" && h.address.Kind == network.AddressName {
		h.name = h.address.Host()
	}
	return &logicalDNS{m.GetName(), newMembership(hosts, p, n)}, nil
}

func (l *logicalDNS) pick(_ context.Context, _ *codec.Request, info *network.StreamInfo) (*host, error) {
	if h := l.members.pick(info); h != nil {
		return h, nil
	}
	return nil, &NoHostError{Cluster: l.cluster}
}

func (l *logicalDNS) hosts(context.Context) []*host { return l.members.all }
func (l *logicalDNS) known() []*host                { return l.members.all }

// strictDNS is a cluster of type STRICT_DNS: every address of every name is an
// endpoint.
type strictDNS struct {
	cluster    string
	configured []*host
	names      *nameCache
	policy     balancer
	n          *counters

	mu      sync.Mutex
	members *membership // guarded by mu
}

func newStrictDNS(m *clusterv3.Cluster, p balancer, names *nameCache, n *counters) (*strictDNS, error) {
	hosts, err := endpoints(m.GetLoadAssignment())
	return &strictDNS{
		cluster: m.GetName(), configured: hosts, names: names, policy: p, n: n,
		members: &membership{},
	}, err
}

func (s *strictDNS) pick(ctx context.Context, _ *codec.Request, info *network.StreamInfo) (*host, error) {
	m, err := s.update(ctx)
	if h := m.pick(info); h != nil {
		return h, nil
	}
	return nil, &NoHostError{Cluster: s.cluster, Err: err}
}

func (s *strictDNS) hosts(ctx context.Context) []*host {
	m, _ := s.update(ctx)
	return m.all
}

func (s *strictDNS) known() []*host {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members.all
}

// update asks for all names at once and makes a new membership if the addresses
// are others. The error is that of the names without addresses.
func (s *strictDNS) update(ctx context.Context) (*membership, error) {
	answers := make([][]netip.Addr, len(s.configured))
	errs := make([]error, len(s.configured))
	var wg sync.WaitGroup
	for i, h := range s.configured {
		if h.address.Kind == network.AddressName {
			wg.Go(func() { answers[i], errs[i] = s.names.lookup(ctx, h.address.Host()) }) // ends with ctx
		}
	}
	wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.resolvedLocked(answers); !slices.Equal(all, s.members.all) {
		s.members = newMembership(all, s.policy, s.n)
		s.n.membershipChange.Inc()
	}
	return s.members, errors.Join(errs...)
}

// resolvedLocked lists the endpoints; one that was there before stays the same.
func (s *strictDNS) resolvedLocked(answers [][]netip.Addr) []*host {
	before := make(map[poolKey]*host, len(s.members.all))
	for _, h := range s.members.all {
		before[h.key()] = h
	}
	var all []*host
	seen := make(map[poolKey]bool)
	add := func(h *host) {
		if old := before[h.key()]; old != nil {
			h = old
		}
		if !seen[h.key()] { // an address that two names share is one endpoint
			seen[h.key()] = true
			all = append(all, h)
		}
	}
	for i, h := range s.configured {
		if h.address.Kind != network.AddressName {
			add(h)
			continue
		}
		for _, a := range answers[i] {
			resolved := *h
			resolved.n = new(hostCounts)
			resolved.address = network.IPAddress(netip.AddrPortFrom(a, h.address.Port()))
			if resolved.name == "" {
				resolved.name = h.address.Host()
			}
			add(&resolved)
		}
	}
	return all
}
