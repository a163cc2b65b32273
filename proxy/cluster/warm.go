package cluster

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"

	"culvert/configs/field"
	"culvert/proxy/network"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

// maxWarm bounds the endpoints that are connected to at the start.
const maxWarm = 8

// preconnect is Envoy's preconnect_policy; the zero value connects when a flow
// asks.
type preconnect struct {
	perUpstream float64 // places for each stream of an endpoint
	predictive  float64 // endpoints that are ready for each that was picked
}

func newPreconnect(m *clusterv3.Cluster_PreconnectPolicy) (preconnect, error) {
	p := preconnect{1, 1}
	if v := m.GetPerUpstreamPreconnectRatio(); v != nil {
		p.perUpstream = v.GetValue()
	}
	if v := m.GetPredictivePreconnectRatio(); v != nil {
		p.predictive = v.GetValue()
	}
	if m.GetPreconnectEnabledMetadata() != nil {
		return p, field.Errorf("preconnect_policy.preconnect_enabled_metadata", "not supported")
	}
	return p, nil
}

func (p preconnect) on() bool { return p.perUpstream > 1 || p.predictive > 1 }

// Warm connects to the endpoints, a few of them if there are many, so that the
// first flow finds a connection; it returns when that is done. Clusters that
// say which HTTP they speak make connections of it, others raw ones.
func (c *Cluster) Warm(ctx context.Context) error {
	hosts := c.hosts.hosts(ctx)
	hosts = hosts[:min(len(hosts), maxWarm)]
	errs := make([]error, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		if h.usable() && h.check == nil {
			wg.Go(func() { errs[i] = c.warm(ctx, h) }) // ends with ctx
		}
	}
	wg.Wait()
	return field.Join(errs...)
}

func (c *Cluster) warm(ctx context.Context, h *host) error {
	if !c.http.explicit || c.http.downstream {
		return c.spares.add(ctx, h)
	}
	nobody := network.NewStreamInfo(0)
	key, err := c.httpKeyOf(h, nil, nobody)
	if err != nil || key.state != "" {
		return err // connections are made for flows, each its own
	}
	p, err := c.acquirePool(key, h, nobody)
	if err != nil {
		return err
	}
	defer c.letGo(p)
	return p.warm(ctx)
}

// predict readies another endpoint, where that is wished for: one that a next
// flow may be sent to.
func (c *Cluster) predict(picked *host) {
	if c.preconnect.predictive <= 1 {
		return
	}
	c.spawn(func(ctx context.Context) {
		hosts := c.hosts.hosts(ctx)
		if len(hosts) == 0 {
			return
		}
		for range int(math.Ceil(c.preconnect.predictive - 1)) {
			if h := hosts[rand.IntN(len(hosts))]; h.usable() && h.check == nil && h != picked {
				_ = c.warm(ctx, h) // the flow that needs it will see
			}
		}
	})
}
