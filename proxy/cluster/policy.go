package cluster

import (
	"fmt"

	"culvert/configs/field"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	clusterprovidedv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/cluster_provided/v3"
	leastrequestv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/least_request/v3"
	randomv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/random/v3"
	ringhashv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/ring_hash/v3"
	roundrobinv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/round_robin/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// newPolicy compiles the load balancing policy. load_balancing_policy goes
// before lb_policy, as in Envoy. provides is a type of cluster that picks by
// itself, empty for those that do not; such a cluster has no policy.
func newPolicy(m *clusterv3.Cluster, provides string) (balancer, error) {
	if m.GetLoadBalancingPolicy() != nil {
		return typedPolicy(m.GetLoadBalancingPolicy(), provides)
	}
	if err := checkPolicy(m, provides); err != nil {
		return nil, err
	}
	switch m.GetLbPolicy() {
	case clusterv3.Cluster_CLUSTER_PROVIDED:
		return nil, nil
	case clusterv3.Cluster_ROUND_ROBIN:
		return roundRobin(), nil
	case clusterv3.Cluster_RANDOM:
		return random(), nil
	case clusterv3.Cluster_LEAST_REQUEST:
		n, err := choiceCount(m.GetLeastRequestLbConfig().GetChoiceCount())
		return leastRequest(n), field.At("least_request_lb_config.choice_count", err)
	case clusterv3.Cluster_RING_HASH:
		c := m.GetRingHashLbConfig()
		var err error
		if f := c.GetHashFunction(); f != clusterv3.Cluster_RingHashLbConfig_XX_HASH {
			err = field.Errorf("ring_hash_lb_config.hash_function", "hash function %s is not supported", f)
		}
		return newRing(c.GetMinimumRingSize(), c.GetMaximumRingSize(), false, "ring_hash_lb_config.", err)
	}
	return nil, field.Errorf("lb_policy", "LB policy %s is not supported", m.GetLbPolicy())
}

// checkPolicy wants the load balancing policy that fits the type.
func checkPolicy(m *clusterv3.Cluster, provides string) error {
	provided := m.GetLbPolicy() == clusterv3.Cluster_CLUSTER_PROVIDED
	switch {
	case provides != "" && !provided:
		return &field.Error{
			Path: "lb_policy",
			Err:  fmt.Errorf("cluster: LB policy %s is not valid for Cluster type %s. Only 'CLUSTER_PROVIDED' is allowed with cluster type '%s'", m.GetLbPolicy(), provides, provides),
			Fix:  "lb_policy: CLUSTER_PROVIDED",
		}
	case provided && provides == "":
		return field.Errorf("lb_policy", "cluster: LB policy CLUSTER_PROVIDED is not valid for Cluster type %s. 'CLUSTER_PROVIDED' is allowed only with cluster type 'ORIGINAL_DST'", m.GetType())
	}
	return nil
}

// typedPolicy takes the first policy that there is, as Envoy does.
func typedPolicy(m *clusterv3.LoadBalancingPolicy, provides string) (balancer, error) {
	for i, p := range m.GetPolicies() {
		path := field.Index("load_balancing_policy.policies", i) + ".typed_extension_config.typed_config"
		msg, err := p.GetTypedExtensionConfig().GetTypedConfig().UnmarshalNew()
		if err != nil {
			continue // not known here: the next may be
		}
		var out balancer
		switch msg := msg.(type) {
		case *roundrobinv3.RoundRobin:
			out = roundRobin()
		case *randomv3.Random:
			out = random()
		case *leastrequestv3.LeastRequest:
			n, err := choiceCount(msg.GetChoiceCount())
			if msg.GetEnableFullScan().GetValue() || msg.GetSelectionMethod() == leastrequestv3.LeastRequest_FULL_SCAN {
				n = 0
			}
			if err != nil {
				return nil, field.At(path+".choice_count", err)
			}
			out = leastRequest(n)
		case *ringhashv3.RingHash:
			out, err = typedRing(msg, path+".")
			if err != nil {
				return nil, err
			}
		case *clusterprovidedv3.ClusterProvided:
			if provides == "" {
				return nil, field.Errorf(path, "this type of cluster does not pick by itself")
			}
			return nil, nil
		default:
			continue
		}
		if provides != "" {
			return nil, field.Errorf(path, "a cluster of type %s picks by itself", provides)
		}
		return out, nil
	}
	return nil, field.Errorf("load_balancing_policy", "cluster: didn't find a registered load balancer factory")
}

func typedRing(m *ringhashv3.RingHash, path string) (balancer, error) {
	var err error
	switch f := m.GetHashFunction(); f {
	case ringhashv3.RingHash_DEFAULT_HASH, ringhashv3.RingHash_XX_HASH:
	default:
		err = field.Errorf(path+"hash_function", "hash function %s is not supported", f)
	}
	byName := m.GetUseHostnameForHashing() || m.GetConsistentHashingLbConfig().GetUseHostnameForHashing() //nolint:staticcheck // Envoy still reads it
	return newRing(m.GetMinimumRingSize(), m.GetMaximumRingSize(), byName, path, err)
}

func newRing(low, high *wrapperspb.UInt64Value, byName bool, path string, err error) (balancer, error) {
	minSize, maxSize := uint64(defaultMinRing), uint64(defaultMaxRing)
	if low != nil {
		minSize = low.GetValue()
	}
	if high != nil {
		maxSize = high.GetValue()
	}
	switch {
	case err != nil:
	case maxSize > defaultMaxRing || minSize == 0:
		err = field.Errorf(path+"minimum_ring_size", "a ring has 1 to %d entries", defaultMaxRing)
	case minSize > maxSize:
		err = field.Errorf(path+"minimum_ring_size",
			"ring hash: minimum_ring_size (%d) > maximum_ring_size (%d)", minSize, maxSize)
	}
	return ringHash(minSize, maxSize, byName), err
}

func choiceCount(v *wrapperspb.UInt32Value) (int, error) {
	switch {
	case v == nil:
		return defaultChoices, nil
	case v.GetValue() < 2:
		return 0, fmt.Errorf("at least 2")
	}
	return int(v.GetValue()), nil
}
