package listener

import (
	"time"

	"culvert/proxy/network"
	"culvert/proxy/stats"
)

// counters are listener.<address>.*, under Envoy's names.
type counters struct {
	total, destroy, overflow, overloaded, noFilterChain, transportTimeout, filtersTimeout, filterError *stats.Counter
	active                                                                                             *stats.Gauge
	lengthMs                                                                                           *stats.Histogram
}

// scopeOf is where a listener's metrics are.
func scopeOf(store *stats.Store, prefix string) *stats.Scope {
	prefix = stats.Sanitize(prefix)
	return store.Scope("listener."+prefix+".", stats.Tag{Name: "envoy_listener_address", Value: prefix})
}

func newCounters(s *stats.Scope) *counters {
	return &counters{
		total:            s.Counter("downstream_cx_total"),
		destroy:          s.Counter("downstream_cx_destroy"),
		overflow:         s.Counter("downstream_global_cx_overflow"),
		overloaded:       s.Counter("downstream_cx_overload_reject"),
		noFilterChain:    s.Counter("no_filter_chain_match"),
		transportTimeout: s.Counter("downstream_cx_transport_socket_connect_timeout"),
		filtersTimeout:   s.Counter("downstream_pre_cx_timeout"),
		filterError:      s.Counter("downstream_listener_filter_error"),
		active:           s.Gauge("downstream_cx_active"),
		lengthMs:         s.Histogram("downstream_cx_length_ms"),
	}
}

func (n *counters) begin() {
	n.total.Inc()
	n.active.Inc()
}

func (n *counters) end(info *network.StreamInfo) {
	n.active.Dec()
	n.destroy.Inc()
	n.lengthMs.RecordDuration(time.Since(info.Start))
}
