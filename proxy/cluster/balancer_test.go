package cluster

import (
	"fmt"
	"strings"
	"testing"

	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/stats"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	leastrequestv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/least_request/v3"
	randomv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/random/v3"
	ringhashv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/ring_hash/v3"
	roundrobinv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/round_robin/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// hostsOf makes endpoints named by letters, of the given weights.
func hostsOf(weights ...uint32) []*host {
	var out []*host
	for i, w := range weights {
		out = append(out, &host{address: network.NameAddress(string(rune('a'+i)), 80), weight: w, n: new(hostCounts)})
	}
	return out
}

func picks(p picker, n int) map[string]int {
	got := make(map[string]int)
	for range n {
		got[p.pick(network.NewStreamInfo(1)).address.Host()]++
	}
	return got
}

func TestRoundRobinWeights(t *testing.T) {
	p := roundRobin()(hostsOf(3, 1, 2))
	var order []string
	for range 6 {
		order = append(order, p.pick(nil).address.Host())
	}
	if got := strings.Join(order, ""); got != "acabca" {
		t.Errorf("a round is %s", got)
	}
	if got := picks(p, 600); got["a"] != 300 || got["b"] != 100 || got["c"] != 200 {
		t.Errorf("shares %v", got)
	}
}

func TestLeastRequest(t *testing.T) {
	hosts := hostsOf(1, 1, 1)
	hosts[0].n.rqActive.Store(5)
	hosts[1].n.rqActive.Store(1)
	hosts[2].n.rqActive.Store(2)
	if got := picks(leastRequest(0)(hosts), 30); got["b"] != 30 {
		t.Errorf("a full scan picked %v", got)
	}
	if got := picks(leastRequest(2)(hosts), 3000); got["b"] < got["c"] || got["c"] < got["a"] || got["a"] > 500 {
		t.Errorf("two choices picked %v", got)
	}
	heavy := hostsOf(4, 1)
	heavy[0].n.rqActive.Store(3)
	heavy[1].n.rqActive.Store(1)
	if got := picks(leastRequest(0)(heavy), 10); got["a"] != 10 {
		t.Errorf("3 of weight 4 is less than 1 of weight 1: %v", got)
	}
}

func TestRandom(t *testing.T) {
	if got := picks(random()(hostsOf(1, 1, 1)), 3000); got["a"] < 800 || got["b"] < 800 || got["c"] < 800 {
		t.Errorf("%v", got)
	}
}

// H30: flows of one hash go to one endpoint; when another is taken away most of
// them stay, all but those that its share of the ring is dealt out to.
func TestH30RingHash(t *testing.T) {
	hosts := hostsOf(1, 1, 1, 2)
	build := ringHash(defaultMinRing, defaultMaxRing, false)
	all, less := build(hosts), build(hosts[:3])
	moved, share := 0, make(map[string]int)
	const flows = 5000
	for i := range flows {
		info := network.NewStreamInfo(1)
		info.SetHash(network.Hash64(fmt.Sprintf("10.0.%d.%d", i/256, i%256)))
		a := all.pick(info)
		if a != all.pick(info) {
			t.Fatal("one hash, two endpoints")
		}
		share[a.address.Host()]++
		if b := less.pick(info); b != a && a != hosts[3] {
			moved++
		}
	}
	if moved > flows/5 {
		t.Errorf("%d of %d flows moved that were not on the endpoint taken away", moved, flows)
	}
	if d := share["d"]; d < flows/4 || d > flows/2+flows/10 {
		t.Errorf("the endpoint of weight 2 of 5 got %d of %d", d, flows)
	}
	if got := picks(all, 200); len(got) != 4 {
		t.Errorf("flows without a hash went to %v", got)
	}
}

func TestPriorityAndHealth(t *testing.T) {
	type endpoint struct {
		name     string
		priority uint32
		health   corev3.HealthStatus
	}
	const (
		well     = corev3.HealthStatus_HEALTHY
		ill      = corev3.HealthStatus_UNHEALTHY
		draining = corev3.HealthStatus_DRAINING
		degraded = corev3.HealthStatus_DEGRADED
	)
	for _, tt := range []struct {
		name  string
		hosts []endpoint
		want  string
	}{
		{"the first priority", []endpoint{{"a", 0, well}, {"b", 1, well}}, "a"},
		{"the next", []endpoint{{"a", 0, ill}, {"b", 1, well}}, "b"},
		{"draining", []endpoint{{"a", 0, draining}, {"b", 0, well}}, "b"},
		{"a degraded one before none", []endpoint{{"a", 0, degraded}, {"b", 1, ill}}, "a"},
		{"a degraded one after others", []endpoint{{"a", 0, degraded}, {"b", 1, well}}, "b"},
		{"none", []endpoint{{"a", 0, ill}}, ""},
	} {
		var all []*host
		for _, e := range tt.hosts {
			all = append(all, &host{address: network.NameAddress(e.name, 80), weight: 1, priority: e.priority, health: e.health, n: new(hostCounts)})
		}
		n := newCounters(stats.NewStore(), "x")
		got := ""
		if h := newMembership(all, roundRobin(), n).pick(nil); h != nil {
			got = h.address.Host()
		}
		if got != tt.want || n.membershipTotal.Value() != int64(len(all)) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What the configuration says of an endpoint reaches the picker.
func TestEndpointFields(t *testing.T) {
	m := static1("192.0.2.1:1", "192.0.2.2:1")
	lb := m.LoadAssignment.Endpoints[0].LbEndpoints
	lb[0].HealthStatus = corev3.HealthStatus_UNHEALTHY
	lb[1].LoadBalancingWeight = u32(7)
	m.LoadAssignment.Endpoints = append(m.LoadAssignment.Endpoints, &endpointv3.LocalityLbEndpoints{
		Priority: 1, LbEndpoints: assignment("192.0.2.3:1").Endpoints[0].LbEndpoints,
	})
	c := start(t, m, nil)
	s := c.Status()
	if len(s.Hosts) != 3 || s.Hosts[0].Health != "/failed_eds_health" || s.Hosts[1].Weight != 7 || s.Hosts[2].Priority != 1 || s.Hosts[2].Weight != 1 {
		t.Errorf("%+v", s.Hosts)
	}
	if c.value("membership_healthy") != 2 {
		t.Errorf("membership_healthy %d", c.value("membership_healthy"))
	}
}

func TestPolicies(t *testing.T) {
	typed := func(m proto.Message) *clusterv3.Cluster {
		return &clusterv3.Cluster{LoadBalancingPolicy: &clusterv3.LoadBalancingPolicy{Policies: []*clusterv3.LoadBalancingPolicy_Policy{
			{TypedExtensionConfig: &corev3.TypedExtensionConfig{Name: "x", TypedConfig: packed(t, m)}},
		}}}
	}
	for _, tt := range []struct {
		name, want string
		m          *clusterv3.Cluster
	}{
		{"default", "*cluster.rotation", &clusterv3.Cluster{}},
		{"LEAST_REQUEST", "*cluster.leastPicker", &clusterv3.Cluster{LbPolicy: clusterv3.Cluster_LEAST_REQUEST}},
		{"RANDOM", "cluster.randomPicker", &clusterv3.Cluster{LbPolicy: clusterv3.Cluster_RANDOM}},
		{"RING_HASH", "*cluster.ring", &clusterv3.Cluster{LbPolicy: clusterv3.Cluster_RING_HASH}},
		{"typed round robin", "*cluster.rotation", typed(&roundrobinv3.RoundRobin{})},
		{"typed least request", "*cluster.leastPicker", typed(&leastrequestv3.LeastRequest{ChoiceCount: u32(3)})},
		{"typed random", "cluster.randomPicker", typed(&randomv3.Random{})},
		{"typed ring hash", "*cluster.ring", typed(&ringhashv3.RingHash{MinimumRingSize: wrapperspb.UInt64(16)})},
	} {
		p, err := newPolicy(tt.m, "")
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := fmt.Sprintf("%T", p(hostsOf(1, 1))); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	for path, m := range map[string]*clusterv3.Cluster{
		"least_request_lb_config.choice_count": {LbPolicy: clusterv3.Cluster_LEAST_REQUEST, LbConfig: &clusterv3.Cluster_LeastRequestLbConfig_{
			LeastRequestLbConfig: &clusterv3.Cluster_LeastRequestLbConfig{ChoiceCount: u32(1)}}},
		"ring_hash_lb_config.hash_function": {LbPolicy: clusterv3.Cluster_RING_HASH, LbConfig: &clusterv3.Cluster_RingHashLbConfig_{
			RingHashLbConfig: &clusterv3.Cluster_RingHashLbConfig{HashFunction: clusterv3.Cluster_RingHashLbConfig_MURMUR_HASH_2}}},
		"ring_hash_lb_config.minimum_ring_size": {LbPolicy: clusterv3.Cluster_RING_HASH, LbConfig: &clusterv3.Cluster_RingHashLbConfig_{
			RingHashLbConfig: &clusterv3.Cluster_RingHashLbConfig{MinimumRingSize: wrapperspb.UInt64(20), MaximumRingSize: wrapperspb.UInt64(10)}}},
		"load_balancing_policy": {LoadBalancingPolicy: &clusterv3.LoadBalancingPolicy{}},
	} {
		_, err := newPolicy(m, "")
		if all := field.All(err); len(all) != 1 || all[0].Path != path {
			t.Errorf("%s: %v", path, err)
		}
	}
}
