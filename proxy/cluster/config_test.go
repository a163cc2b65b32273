package cluster

import (
	"strings"
	"testing"

	culvertv1 "culvert/configs/culvert/v1"
	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/stats"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

func packed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func options1(t *testing.T, name string, m proto.Message) map[string]*anypb.Any {
	return map[string]*anypb.Any{name: packed(t, m)}
}

// M11 and its like: what is wrong, where, in Envoy's words where it has some.
func TestM11Errors(t *testing.T) {
	type M = clusterv3.Cluster
	with := func(m *M, change func(*M)) *M { change(m); return m }
	two := assignment("a.example:1")
	two.Endpoints = append(two.Endpoints, assignment("b.example:1").Endpoints...)
	tests := []struct {
		name, path, text string
		m                *M
	}{
		{"ORIGINAL_DST with ROUND_ROBIN", "lb_policy", "Only 'CLUSTER_PROVIDED' is allowed", ofType(clusterv3.Cluster_ORIGINAL_DST, &M{})},
		{"ORIGINAL_DST with endpoints", "load_assignment", "must have no load assignment",
			with(originalDstCluster(nil), func(m *M) { m.LoadAssignment = &endpointv3.ClusterLoadAssignment{} })},
		{"header name without flag", "original_dst_lb_config.http_header_name", "use_http_header is false",
			originalDstCluster(&clusterv3.Cluster_OriginalDstLbConfig{HttpHeaderName: "x"})},
		{"port override", "original_dst_lb_config.upstream_port_override", "at most 65535",
			originalDstCluster(&clusterv3.Cluster_OriginalDstLbConfig{UpstreamPortOverride: u32(65536)})},
		{"CLUSTER_PROVIDED with STATIC", "lb_policy", "allowed only with cluster type 'ORIGINAL_DST'", &M{LbPolicy: clusterv3.Cluster_CLUSTER_PROVIDED}},
		{"MAGLEV", "lb_policy", "not supported", &M{LbPolicy: clusterv3.Cluster_MAGLEV}},
		{"LOGICAL_DNS, two endpoints", "load_assignment", "LOGICAL_DNS clusters must have a single",
			ofType(clusterv3.Cluster_LOGICAL_DNS, static1("a.example:1", "b.example:1"))},
		{"LOGICAL_DNS, two localities", "load_assignment", "LOGICAL_DNS clusters must have a single",
			ofType(clusterv3.Cluster_LOGICAL_DNS, &M{LoadAssignment: two})},
		{"STATIC with a name", "load_assignment", "malformed IP address: a.example", static1("a.example:1")},
		{"EDS", "type", "not supported", ofType(clusterv3.Cluster_EDS, &M{})},
		{"cluster_type", "cluster_type", "not supported", &M{ClusterDiscoveryType: &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{Name: "x"}}}},
		{"UDP endpoint", "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.protocol", "only TCP",
			with(static1("192.0.2.1:1"), func(m *M) {
				m.LoadAssignment.Endpoints[0].LbEndpoints[0].GetEndpoint().Address.GetSocketAddress().Protocol = corev3.SocketAddress_UDP
			})},
		{"endpoint port", "load_assignment.endpoints[0].lb_endpoints[1].endpoint.address.socket_address.port_value", "port",
			with(static1("192.0.2.1:1", "192.0.2.1:2"), func(m *M) {
				m.LoadAssignment.Endpoints[0].LbEndpoints[1].GetEndpoint().Address.GetSocketAddress().PortSpecifier = nil
			})},
		{"unknown options", "typed_extension_protocol_options[x]", "no protocol options of type",
			&M{TypedExtensionProtocolOptions: options1(t, "x", &corev3.Address{})}},
		{"egress policy of a static cluster", "typed_extension_protocol_options", "restricts what clients choose",
			&M{TypedExtensionProtocolOptions: options1(t, "culvert.egress", &culvertv1.EgressPolicy{})}},
		{"bad egress policy", "typed_extension_protocol_options[culvert.egress].allow[0].prefix", "is not an address",
			with(originalDstCluster(nil), func(m *M) {
				m.TypedExtensionProtocolOptions = options1(t, "culvert.egress", &culvertv1.EgressPolicy{Allow: []*culvertv1.EgressRange{allow("10/8")}})
			})},
		{"high priority", "circuit_breakers.thresholds[0].priority", "only the default",
			&M{CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{Priority: corev3.RoutingPriority_HIGH}}}}},
		{"original_dst_lb_config of STATIC", "original_dst_lb_config", "only for clusters of type",
			&M{LbConfig: &clusterv3.Cluster_OriginalDstLbConfig_{OriginalDstLbConfig: &clusterv3.Cluster_OriginalDstLbConfig{}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.m.Name = "edge"
			_, err := New(tt.m, Deps{Stats: stats.NewStore(), Flows: network.NewFlowTable(), Resolver: &zone{}})
			all := field.All(err)
			if len(all) != 1 || all[0].Path != tt.path || !strings.Contains(all[0].Err.Error(), tt.text) {
				t.Errorf("got %v, want one error at %q with %q", err, tt.path, tt.text)
			}
		})
	}
}

func TestM11DuplicateCluster(t *testing.T) {
	d := Deps{Stats: stats.NewStore(), Flows: network.NewFlowTable()}
	list := []*clusterv3.Cluster{{Name: "a"}, {Name: "b", LbPolicy: clusterv3.Cluster_MAGLEV}, {Name: "a"}, {Name: "b"}}
	_, err := NewSet(list, d)
	var got []string
	for _, e := range field.All(err) {
		got = append(got, e.Path)
	}
	if want := "[1].lb_policy [2].name [3].name"; strings.Join(got, " ") != want {
		t.Errorf("errors at %v, want %s: %v", got, want, err)
	}
	if !strings.Contains(err.Error(), "cluster manager: duplicate cluster 'a'") {
		t.Errorf("%v", err)
	}

	s, err := NewSet([]*clusterv3.Cluster{{Name: "b"}, {Name: "a"}}, d)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	s.Each(func(c *Cluster) { names = append(names, c.Name()); run(t, c) })
	if c, ok := s.Get("a"); strings.Join(names, " ") != "b a" || !ok || c.Name() != "a" {
		t.Errorf("clusters %v", names)
	}
	if _, ok := s.Get("c"); ok {
		t.Error("c is found")
	}
}
