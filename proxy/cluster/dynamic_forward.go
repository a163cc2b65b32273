package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/proxy/transport"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	dynamicv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	dnscachev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Filter state that chooses the target of a dynamic forward proxy cluster
// before the request does: a name or address, and a port.
const (
	StateDynamicHost = "envoy.upstream.dynamic_host"
	StateDynamicPort = "envoy.upstream.dynamic_port"
)

// Envoy's defaults of a dns_cache_config.
const (
	defaultCacheRefresh    = time.Minute
	defaultCacheMinRefresh = 5 * time.Second
	defaultHostTTL         = 5 * time.Minute
	defaultMaxHosts        = 1024
	defaultQueryTimeout    = 5 * time.Second
)

// dynamicForward is a dynamic forward proxy cluster: each request names its
// endpoint, which is resolved. The addresses are the client's choice and pass
// the policy when they are dialled.
type dynamicForward struct {
	cluster string
	port    uint16 // of a target without one
	cache   *dnscachev3.DnsCacheConfig
	names   *nameCache
	choice  choice
	recent  *recentHosts
	early   []string // names to be known before anybody asks
	// detour reports that a proxy on the way resolves the name itself.
	detour func(target network.Address, info *network.StreamInfo) bool
}

func newDynamicForward(m *clusterv3.Cluster, t *clusterv3.Cluster_CustomClusterType, ch choice, c *Cluster) (*dynamicForward, error) {
	cfg := new(dynamicv3.ClusterConfig)
	if t.GetTypedConfig().MessageName() != cfg.ProtoReflect().Descriptor().FullName() {
		return nil, field.Errorf("cluster_type", "cluster type %q is not supported", t.GetName())
	}
	if err := t.GetTypedConfig().UnmarshalTo(cfg); err != nil {
		return nil, field.At("cluster_type.typed_config", err)
	}
	if _, err := newPolicy(m, t.GetName()); err != nil {
		return nil, err
	}
	d := &dynamicForward{cluster: m.GetName(), cache: cfg.GetDnsCacheConfig(), port: 80, choice: ch, recent: newRecentHosts(m, c.n), detour: c.detour}
	if c.transport != nil && c.transport.Secure() {
		d.port = 443
	}
	var errs []error
	if m.GetLoadAssignment() != nil {
		errs = append(errs, field.Errorf("load_assignment", "a cluster whose endpoints requests name has none of its own"))
	}
	if cfg.GetSubClustersConfig() != nil {
		errs = append(errs, field.Errorf("cluster_type.typed_config.sub_clusters_config", "not supported"))
	}
	set, err := newCacheSettings(cfg.GetDnsCacheConfig())
	errs = append(errs, field.At("cluster_type.typed_config.dns_cache_config", err))
	d.names = newNameCache(c.deps.Resolver, set, cacheCounts(c.deps.Stats, cfg.GetDnsCacheConfig().GetName()), c.spawn)
	for _, a := range cfg.GetDnsCacheConfig().GetPreresolveHostnames() {
		d.early = append(d.early, a.GetAddress())
	}
	return d, field.Join(errs...)
}

// resolveEarly asks for the names that the configuration lists.
func (d *dynamicForward) resolveEarly(ctx context.Context) {
	for _, name := range d.early {
		_, _ = d.names.lookup(ctx, name) // a request for it will see
	}
}

// CheckDNSCache says what is wrong with a dns_cache_config, for the HTTP filter
// that repeats its cluster's.
func CheckDNSCache(m *dnscachev3.DnsCacheConfig) error {
	_, err := newCacheSettings(m)
	return err
}

// newCacheSettings reads a dns_cache_config.
func newCacheSettings(m *dnscachev3.DnsCacheConfig) (nameSettings, error) {
	s := nameSettings{
		family: family(m.GetDnsLookupFamily()), useTTL: true,
		refresh:    duration(m.GetDnsRefreshRate(), defaultCacheRefresh),
		minRefresh: duration(m.GetDnsMinRefreshRate(), defaultCacheMinRefresh),
		unused:     duration(m.GetHostTtl(), defaultHostTTL),
		timeout:    duration(m.GetDnsQueryTimeout(), defaultQueryTimeout),
		max:        defaultMaxHosts, failureBase: defaultFailure, failureMax: defaultRefresh,
	}
	if v := m.GetMaxHosts(); v != nil {
		s.max = int(v.GetValue())
	}
	err := field.At("dns_failure_refresh_rate", s.failureRate(m.GetDnsFailureRefreshRate()))
	keep, filterErr := newAddressFilter(m.GetResolvedAddressFilter())
	s.keep = keep
	return s, field.Join(err, field.At("resolved_address_filter", filterErr))
}

func duration(d *durationpb.Duration, def time.Duration) time.Duration {
	if d == nil {
		return def
	}
	return d.AsDuration()
}

// newAddressFilter keeps the addresses that the matcher does not match.
func newAddressFilter(m *matcherv3.AddressMatcher) (func(netip.Addr) bool, error) {
	if m == nil {
		return nil, nil
	}
	var ranges []netip.Prefix
	for i, r := range m.GetRanges() {
		p, err := parsePrefix(r.GetAddressPrefix() + "/" + strconv.Itoa(int(r.GetPrefixLen().GetValue())))
		if err != nil {
			return nil, field.At(field.Index("ranges", i), err)
		}
		ranges = append(ranges, p)
	}
	return func(a netip.Addr) bool { return containsAny(ranges, a.Unmap()) == m.GetInvertMatch() }, nil
}

func cacheCounts(store *stats.Store, name string) nameCounts {
	s := store.Scope("dns_cache." + stats.Sanitize(name) + ".")
	return nameCounts{
		attempt: s.Counter("dns_query_attempt"), success: s.Counter("dns_query_success"),
		failure: s.Counter("dns_query_failure"), timeout: s.Counter("dns_query_timeout"),
		changed: s.Counter("host_address_changed"), added: s.Counter("host_added"),
		removed: s.Counter("host_removed"), overflow: s.Counter("host_overflow"),
		names: s.Gauge("num_hosts"),
	}
}

func (d *dynamicForward) pick(ctx context.Context, head *codec.Request, info *network.StreamInfo) (*host, error) {
	target, err := d.target(head, info)
	if err != nil {
		return nil, &NoHostError{Cluster: d.cluster, Err: err}
	}
	if target.Kind == network.AddressIP {
		if h, ok := d.choice.bound(target.IP); ok {
			return d.recent.host(&host{address: target, handler: h}), nil
		}
		p := d.choice.chosen(info)
		return d.recent.host(&host{address: target, check: d.choice.check(p), reach: p.permitted}), nil
	}
	if d.detour(target, info) {
		return d.recent.host(&host{address: target, name: target.Host(), chosen: true}), nil
	}
	addrs, err := d.names.lookup(ctx, target.Host())
	if err != nil {
		return nil, &NoHostError{Cluster: d.cluster, Err: err}
	}
	return d.permitted(target, addrs, info)
}

// permitted is the endpoint of a name, of which the addresses remain that the
// policy permits. A name that has some of each goes to those: a pooled
// connection may have gone to any that is dialled.
func (d *dynamicForward) permitted(target network.Address, addrs []netip.Addr, info *network.StreamInfo) (*host, error) {
	p := d.choice.chosen(info)
	check := d.choice.check(p)
	var refused error
	var targets []network.Address
	for _, a := range targetsOf(addrs, target.Port()) {
		if h, ok := d.choice.bound(a.IP); ok {
			return d.recent.host(&host{address: a, name: target.Host(), handler: h}), nil
		}
		if err := check(a.IP); err != nil {
			refused = errors.Join(refused, err)
			continue
		}
		targets = append(targets, a)
	}
	if len(targets) == 0 {
		return nil, &ConnectError{Cluster: d.cluster, Endpoint: target, Err: refused}
	}
	return d.recent.host(&host{
		address: target, name: target.Host(), chosen: true, targets: targets, check: check, reach: p.permitted,
	}), nil
}

// hosts: nothing is connected to before somebody names it.
func (d *dynamicForward) hosts(context.Context) []*host { return nil }
func (d *dynamicForward) known() []*host                { return d.recent.list() }

// target is the host that filter state names, or the request, or the SNI of a
// connection that is none of HTTP.
func (d *dynamicForward) target(head *codec.Request, info *network.StreamInfo) (network.Address, error) {
	name := stateString(info, StateDynamicHost)
	switch {
	case name != "":
	case head != nil:
		name = head.Authority
	default:
		name = info.ServerName
	}
	if name == "" {
		return network.Address{}, errors.New("the request names no host")
	}
	name = strings.ToLower(name)
	port := d.port
	if head == nil && info.LocalAddress.Port() != 0 {
		port = info.LocalAddress.Port()
	}
	if p := stateString(info, StateDynamicPort); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return network.Address{}, fmt.Errorf("filter state %s: %q is not a port", StateDynamicPort, p)
		}
		if host, _, err := net.SplitHostPort(name); err == nil {
			name = host
		}
		return hostAndPort(name, uint16(n))
	}
	return hostAndPort(name, port)
}

// hostAndPort reads a host with or without a port.
func hostAndPort(s string, port uint16) (network.Address, error) {
	if _, _, err := net.SplitHostPort(s); err == nil {
		return network.ParseHostPort(s)
	}
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	return network.ParseHostPort(net.JoinHostPort(s, strconv.Itoa(int(port))))
}

// stateString is a filter state object as text; empty if there is none.
func stateString(info *network.StreamInfo, name string) string {
	v, ok := info.LookupFilterState(name)
	if !ok {
		return ""
	}
	return fmt.Sprint(v)
}

// detour reports that the way to target leads through a proxy or a tunnel, which
// then resolves the name.
func (c *Cluster) detour(target network.Address, info *network.StreamInfo) bool {
	way, err := transport.WayTo(c.transport, transport.Options{Info: info, Endpoint: target, HostName: target.Host()})
	return err == nil && (way.Open != nil || !way.Proxy.IsZero())
}

// ResolveHost resolves, and keeps, the name that a request will be sent to,
// for whoever wants to know before. Nothing is done where the cluster's
// endpoints are not named by requests.
func (c *Cluster) ResolveHost(ctx context.Context, head *codec.Request, info *network.StreamInfo) error {
	d, ok := c.hosts.(*dynamicForward)
	if !ok {
		return nil
	}
	target, err := d.target(head, info)
	if err != nil || target.Kind == network.AddressIP || d.detour(target, info) {
		return err
	}
	_, err = d.names.lookup(ctx, target.Host())
	return err
}
