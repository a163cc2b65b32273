package cluster

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	culvertv1 "culvert/configs/culvert/v1"
	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/network"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	dynamicv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	dnscachev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

func dynamicCluster(t *testing.T, cache *dnscachev3.DnsCacheConfig) *clusterv3.Cluster {
	if cache.Name == "" {
		cache.Name = "cache"
	}
	return &clusterv3.Cluster{
		Name: "edge", LbPolicy: clusterv3.Cluster_CLUSTER_PROVIDED,
		ClusterDiscoveryType: &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
			Name: "envoy.clusters.dynamic_forward_proxy",
			TypedConfig: packed(t, &dynamicv3.ClusterConfig{
				ClusterImplementationSpecifier: &dynamicv3.ClusterConfig_DnsCacheConfig{DnsCacheConfig: cache},
			}),
		}},
	}
}

// dynamicRig is a dynamic forward proxy cluster that notes what it dials.
func dynamicRig(t *testing.T, m *clusterv3.Cluster, z *zone) (*Cluster, *[]string) {
	var dialled []string
	c := start(t, m, func(d *Deps) {
		d.Resolver = z
		d.Connector = connectorFunc(func(_ context.Context, to network.Address) (network.Conn, error) {
			dialled = append(dialled, to.String())
			return &fakeConn{}, nil
		})
	})
	return c, &dialled
}

// L08: the request names its target.
func TestL08DynamicForwardProxy(t *testing.T) {
	z := &zone{names: map[string][]string{
		"a.example": {"8.8.8.8"}, "own.example": {"127.0.0.1"}, "both.example": {"10.0.0.1", "8.8.4.4"},
		"meta.example": {"169.254.169.254"}, "mapped.example": {"::ffff:127.0.0.1"},
	}}
	state := func(host, port string) func(*network.StreamInfo) {
		return func(i *network.StreamInfo) {
			i.SetFilterState(StateDynamicHost, host)
			if port != "" {
				i.SetFilterState(StateDynamicPort, port)
			}
		}
	}
	loopback := func(i *network.StreamInfo) { i.LocalAddress = at("127.0.0.1:10000") }
	for _, tt := range []struct {
		name, authority, want string
		reason                network.Reason
		info                  func(*network.StreamInfo)
	}{
		{name: "a name", authority: "a.example:8080", want: "8.8.8.8:8080"},
		{name: "upper case", authority: "A.EXAMPLE:8080", want: "8.8.8.8:8080"},
		{name: "without a port", authority: "a.example", want: "8.8.8.8:80"},
		{name: "an address", authority: "8.8.8.8:443", want: "8.8.8.8:443"},
		{name: "IPv6", authority: "[2606:4700::1]:443", want: "[2606:4700::1]:443"},
		{name: "IPv6 without a port", authority: "[2606:4700::1]", want: "[2606:4700::1]:80"},
		{name: "no such name", authority: "gone.example:80", reason: network.ReasonDNS},
		{name: "nothing", authority: "", reason: network.ReasonNoHealthy},
		{name: "no host", authority: "a b:80", reason: network.ReasonNoHealthy},
		{name: "filter state", authority: "gone.example:80", info: state("a.example", "99"), want: "8.8.8.8:99"},
		{name: "filter state, bad port", authority: "a.example:80", info: state("a.example", "x"), reason: network.ReasonNoHealthy},
		{name: "loopback", authority: "own.example:80", reason: network.ReasonProhibited},
		{name: "loopback, literal", authority: "127.0.0.1:80", reason: network.ReasonProhibited},
		{name: "loopback, mapped", authority: "mapped.example:80", reason: network.ReasonProhibited},
		{name: "loopback from loopback", authority: "own.example:80", info: loopback, want: "127.0.0.1:80"},
		{name: "metadata from loopback", authority: "meta.example:80", info: loopback, reason: network.ReasonProhibited},
		{name: "the permitted one of two", authority: "both.example:80", want: "8.8.4.4:80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, dialled := dynamicRig(t, dynamicCluster(t, &dnscachev3.DnsCacheConfig{}), z)
			i := info()
			i.LocalAddress = at("192.0.2.1:10000")
			if tt.info != nil {
				tt.info(i)
			}
			conn, _, err := c.OpenFor(t.Context(), &codec.Request{Method: "CONNECT", Authority: tt.authority}, i)
			if err == nil {
				_ = conn.Close()
			}
			if got := strings.Join(*dialled, " "); got != tt.want || err != nil && network.ReasonFor(err) != tt.reason {
				t.Errorf("dialled %q, %v (%v)", got, err, network.ReasonFor(err))
			}
		})
	}
}

// A connection that one was permitted is not the other's.
func TestDynamicPoolsByPermission(t *testing.T) {
	z := &zone{names: map[string][]string{"own.example": {"127.0.0.1", "8.8.8.8"}}}
	srv := serveScript(t, func(int, int) []byte { return okAnswer })
	var dialled []string
	c := start(t, dynamicCluster(t, &dnscachev3.DnsCacheConfig{}), func(d *Deps) {
		d.Resolver = z
		d.Connector = connectorFunc(func(ctx context.Context, to network.Address) (network.Conn, error) {
			dialled = append(dialled, to.Host())
			return (&sockets{}).Connect(ctx, network.AddressOf(mustTCP(srv.addr)), nil)
		})
	})
	for _, arrived := range []string{"127.0.0.1:1", "192.0.2.1:1", "127.0.0.1:1"} {
		i := info()
		i.LocalAddress = at(arrived)
		head := get()
		head.Authority = "own.example"
		s, err := c.OpenStream(t.Context(), head, i)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.ReadResponse(t.Context())
		_, _ = s.Read(make([]byte, 2))
		_, _ = s.Read(make([]byte, 2))
		_ = s.Close()
	}
	if got := strings.Join(dialled, " "); got != "127.0.0.1 8.8.8.8" {
		t.Errorf("dialled %s", got)
	}
}

func TestDynamicCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{names: map[string][]string{"a.example": {"8.8.8.8", "10.0.0.1"}, "b.example": {"10.0.0.1"}, "c.example": {"8.8.8.8"}}}
		m := dynamicCluster(t, &dnscachev3.DnsCacheConfig{
			Name: "c1", MaxHosts: u32(2), HostTtl: durationpb.New(time.Minute),
			PreresolveHostnames:   []*corev3.SocketAddress{{Address: "a.example"}},
			ResolvedAddressFilter: &matcherv3.AddressMatcher{Ranges: []*xdscorev3.CidrRange{{AddressPrefix: "10.0.0.0", PrefixLen: u32(8)}}},
		})
		m.TypedExtensionProtocolOptions = options1(t, "p", &culvertv1.EgressPolicy{AllowPrivate: true})
		c, dialled := dynamicRig(t, m, z)
		synctest.Wait()
		value := func(name string) int64 { v, _ := c.deps.Stats.Value("dns_cache.c1." + name); return v }
		if value("num_hosts") != 1 || value("dns_query_success") != 1 {
			t.Errorf("%d names known, %d asked for, before any request", value("num_hosts"), value("dns_query_success"))
		}
		open := func(authority string) error {
			conn, _, err := c.OpenFor(t.Context(), &codec.Request{Authority: authority}, info())
			if err == nil {
				_ = conn.Close()
			}
			return err
		}
		if err := open("a.example:1"); err != nil || (*dialled)[0] != "8.8.8.8:1" {
			t.Errorf("%v, dialled %v", err, *dialled)
		}
		if err := open("b.example:1"); network.ReasonFor(err) != network.ReasonProhibited {
			t.Errorf("filtered: %v", err)
		}
		if err := open("c.example:1"); network.ReasonFor(err) != network.ReasonOverflow || value("host_overflow") != 1 {
			t.Errorf("beyond max_hosts: %v", err)
		}
		if err := c.ResolveHost(t.Context(), &codec.Request{Authority: "c.example:1"}, info()); network.ReasonFor(err) != network.ReasonOverflow {
			t.Errorf("ResolveHost: %v", err)
		}
	})
}

func TestM11DynamicErrors(t *testing.T) {
	lb := dynamicCluster(t, &dnscachev3.DnsCacheConfig{})
	lb.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
	assigned := dynamicCluster(t, &dnscachev3.DnsCacheConfig{})
	assigned.LoadAssignment = assignment("192.0.2.1:1")
	const cache = "cluster_type.typed_config.dns_cache_config."
	for path, m := range map[string]*clusterv3.Cluster{
		"lb_policy":       lb,
		"load_assignment": assigned,
		cache + "resolved_address_filter.ranges[0]": dynamicCluster(t, &dnscachev3.DnsCacheConfig{
			ResolvedAddressFilter: &matcherv3.AddressMatcher{Ranges: []*xdscorev3.CidrRange{{AddressPrefix: "x"}}}}),
		cache + "dns_failure_refresh_rate.max_interval": dynamicCluster(t, &dnscachev3.DnsCacheConfig{
			DnsFailureRefreshRate: &clusterv3.Cluster_RefreshRate{BaseInterval: durationpb.New(2 * second), MaxInterval: durationpb.New(second)}}),
	} {
		_, err := New(m, testDeps())
		if all := field.All(err); len(all) != 1 || all[0].Path != path {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// One name is one cache.
func TestM11DNSCacheName(t *testing.T) {
	a, b := dynamicCluster(t, &dnscachev3.DnsCacheConfig{}), dynamicCluster(t, &dnscachev3.DnsCacheConfig{})
	a.Name, b.Name = "a", "b"
	if _, err := NewSet([]*clusterv3.Cluster{a, b}, testDeps()); err != nil {
		t.Errorf("the same twice: %v", err)
	}
	b = dynamicCluster(t, &dnscachev3.DnsCacheConfig{MaxHosts: u32(3)})
	b.Name = "b"
	_, err := NewSet([]*clusterv3.Cluster{a, b}, testDeps())
	if all := field.All(err); len(all) != 1 || all[0].Path != "[1].cluster_type.typed_config.dns_cache_config.name" {
		t.Errorf("two of one name: %v", err)
	}
}
