package cluster

import (
	"sync/atomic"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"culvert/configs/field"
	"culvert/proxy/stats"
)

// Defaults of the limits. Where thresholds are configured, what they leave out
// is Envoy's. Where there are none, the bound is the one of what brings the
// flows, the netstack's 50000 or the descriptors of the process: with 1024 the
// thousand-and-twenty-fifth connection of a captured host was told that the net
// is unreachable.
const (
	defaultThreshold      = 1024
	unconfiguredThreshold = 65536
	defaultRetries        = 3
)

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

// force takes a place even if there is none.
func (l *limit) force() { l.active.Add(1) }

func (l *limit) release() { l.active.Add(-1) }

func (l *limit) open() int64 {
	if l.active.Load() >= l.max {
		return 1
	}
	return 0
}

func (l *limit) remaining() int64 { return max(l.max-l.active.Load(), 0) }

// breaker holds the limits of a cluster at default priority.
type breaker struct {
	connections, pending, requests, retries limit

	track  bool     // gauges of what remains
	remove []func() // the gauges
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
	b := &breaker{track: t.GetTrackRemaining()}
	def := int64(defaultThreshold)
	if t == nil {
		def = unconfiguredThreshold
	}
	b.connections.max = threshold(t.GetMaxConnections(), def)
	b.pending.max = threshold(t.GetMaxPendingRequests(), def)
	b.requests.max = threshold(t.GetMaxRequests(), def)
	b.retries.max = threshold(t.GetMaxRetries(), defaultRetries)
	return b, nil
}

func threshold(v *wrapperspb.UInt32Value, def int64) int64 {
	if v == nil {
		return def
	}
	return int64(v.GetValue())
}

// publish shows which limits are reached; hide takes that back.
func (b *breaker) publish(s *stats.Scope) {
	s = s.Scope("circuit_breakers.default.")
	show := func(name string, fn func() int64) { b.remove = append(b.remove, s.GaugeFunc(name, fn)) }
	show("cx_open", b.connections.open)
	show("rq_pending_open", b.pending.open)
	show("rq_open", b.requests.open)
	show("rq_retry_open", b.retries.open)
	if b.track {
		show("remaining_cx", b.connections.remaining)
		show("remaining_pending", b.pending.remaining)
		show("remaining_rq", b.requests.remaining)
		show("remaining_retries", b.retries.remaining)
	}
}

func (b *breaker) hide() {
	for _, remove := range b.remove {
		remove()
	}
}

// AcquireRetry takes one of the cluster's places for retries that run at once;
// release gives it back. False: there are too many, and the retry is not made.
func (c *Cluster) AcquireRetry() (release func(), ok bool) {
	if !c.breaker.retries.acquire() {
		c.n.rqRetryOverflow.Inc()
		return nil, false
	}
	c.n.rqRetry.Inc()
	return c.breaker.retries.release, true
}
