package cluster

import (
	"context"
	"sync/atomic"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/network"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

// roundRobin goes through a list from its beginning.
type roundRobin struct{ next atomic.Uint64 }

func (r *roundRobin) of(hosts []host) (host, bool) {
	if len(hosts) == 0 {
		return host{}, false
	}
	n := r.next.Add(1) - 1
	return hosts[n%uint64(len(hosts))], true
}

// static is a cluster of type STATIC.
type static struct {
	cluster string
	hosts   []host
	turn    roundRobin
}

func newStatic(m *clusterv3.Cluster, n *counters) (*static, error) {
	hosts, err := endpoints(m.GetLoadAssignment())
	if err != nil {
		return nil, err
	}
	for _, h := range hosts {
		if h.address.Kind == network.AddressName {
			err = field.Join(err, &field.Error{
				Path: "load_assignment",
				Err:  errMalformed(h.address.Host()),
				Fix:  "type: STRICT_DNS or LOGICAL_DNS resolves names",
			})
		}
	}
	n.membershipTotal.Set(int64(len(hosts)))
	n.membershipHealthy.Set(int64(len(hosts)))
	return &static{cluster: m.GetName(), hosts: hosts}, err
}

func (s *static) pick(context.Context, *codec.Request, *network.StreamInfo) (host, error) {
	h, ok := s.turn.of(s.hosts)
	if !ok {
		return host{}, &NoHostError{Cluster: s.cluster}
	}
	return h, nil
}
