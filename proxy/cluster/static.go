package cluster

import (
	"context"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/network"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

// static is a cluster of type STATIC.
type static struct {
	cluster string
	members *membership
}

func newStatic(m *clusterv3.Cluster, p balancer, n *counters) (*static, error) {
	hosts, err := endpoints(m.GetLoadAssignment())
	for _, h := range hosts {
		if h.address.Kind == network.AddressName {
			err = field.Join(err, &field.Error{
				Path: "load_assignment",
				Err:  errMalformed(h.address.Host()),
				Fix:  "type: STRICT_DNS or LOGICAL_DNS resolves names",
			})
		}
	}
	if err != nil {
		return nil, err
	}
	return &static{m.GetName(), newMembership(hosts, p, n)}, nil
}

func (s *static) pick(_ context.Context, _ *codec.Request, info *network.StreamInfo) (*host, error) {
	if h := s.members.pick(info); h != nil {
		return h, nil
	}
	return nil, &NoHostError{Cluster: s.cluster}
}

func (s *static) hosts(context.Context) []*host { return s.members.all }

func (s *static) known() []*host { return s.members.all }
