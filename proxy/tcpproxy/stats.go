package tcpproxy

import (
	"culvert/proxy/network"
	"culvert/proxy/stats"
)

// counters are tcp.<stat_prefix>.*, under Envoy's names.
type counters struct {
	total, noRoute, rxBytes, txBytes, idleTimeout, maxDuration, earlyData *stats.Counter
}

func newCounters(store *stats.Store, prefix string) counters {
	prefix = stats.Sanitize(prefix)
	s := store.Scope("tcp."+prefix+".", stats.Tag{Name: "envoy_tcp_prefix", Value: prefix})
	return counters{
		total:       s.Counter("downstream_cx_total"),
		noRoute:     s.Counter("downstream_cx_no_route"),
		rxBytes:     s.Counter("downstream_cx_rx_bytes_total"),
		txBytes:     s.Counter("downstream_cx_tx_bytes_total"),
		idleTimeout: s.Counter("idle_timeout"),
		maxDuration: s.Counter("max_downstream_connection_duration"),
		earlyData:   s.Counter("early_data_received_count_total"),
	}
}

// attemptsExceeded counts in the cluster that was tried last.
func (p *TCPProxy) attemptsExceeded(info *network.StreamInfo) {
	name := stats.Sanitize(info.Cluster)
	p.deps.Stats.Scope("cluster."+name+".", stats.Tag{Name: "envoy_cluster_name", Value: name}).
		Counter("upstream_cx_connect_attempts_exceeded").Inc()
}
