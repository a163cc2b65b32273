package cluster

import (
	"sync/atomic"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"culvert/configs/field"
	"culvert/proxy/stats"
)

// defaultThreshold is Envoy's default of each limit.
const defaultThreshold = 1024

// limit is one threshold of a circuit breaker and what counts against it.
type limit struct {
	max    int64
	active atomic.Int64
}

// acquire takes a place if there is one; it is given back by release.
func (l *limit) acquire() bool {
	if l.active.Add(1) > l.max {
		l.active.Add(-1)
		return false
	}
	return true
}

func (l *limit) release() { l.active.Add(-1) }

func (l *limit) open() int64 {
	if l.active.Load() >= l.max {
		return 1
	}
	return 0
}

// breaker holds the limits of a cluster at default priority.
type breaker struct {
	connections, pending, requests limit
	remove                         []func() // the gauges
}

func newBreaker(m *clusterv3.CircuitBreakers) (*breaker, error) {
	var t *clusterv3.CircuitBreakers_Thresholds
	for i, x := range m.GetThresholds() {
		path := field.Index("circuit_breakers.thresholds", i)
		switch {
		case x.GetPriority() != corev3.RoutingPriority_DEFAULT:
			return nil, field.Errorf(path+".priority", "only the default priority is supported")
		case t == nil: // the first of a priority counts, as in Envoy
			t = x
		}
	}
	b := &breaker{}
	b.connections.max = threshold(t.GetMaxConnections())
	b.pending.max = threshold(t.GetMaxPendingRequests())
	b.requests.max = threshold(t.GetMaxRequests())
	return b, nil
}

func threshold(v *wrapperspb.UInt32Value) int64 {
	if v == nil {
		return defaultThreshold
	}
	return int64(v.GetValue())
}

// publish shows which limits are reached; hide takes that back.
func (b *breaker) publish(s *stats.Scope) {
	s = s.Scope("circuit_breakers.default.")
	b.remove = []func(){
		s.GaugeFunc("cx_open", b.connections.open),
		s.GaugeFunc("rq_pending_open", b.pending.open),
		s.GaugeFunc("rq_open", b.requests.open),
	}
}

func (b *breaker) hide() {
	for _, remove := range b.remove {
		remove()
	}
}
