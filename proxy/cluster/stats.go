package cluster

import "culvert/proxy/stats"

// counters are the metrics of one cluster, under Envoy's names.
type counters struct {
	scope *stats.Scope

	cxTotal, cxHTTP2Total, cxConnectFail, cxConnectTimeout, cxOverflow, cxDestroy,
	cxNoneHealthy, cxIdleTimeout, cxRxBytes, cxTxBytes, cxProtocolError,
	rqTotal, rqPendingTotal, rqPendingOverflow, rqPendingFailure, rqCancelled,
	originalDstInvalid, updateAttempt, updateSuccess, updateFailure *stats.Counter
	cxActive, rqActive, rqPendingActive, membershipTotal, membershipHealthy *stats.Gauge
	cxConnectMs, cxLengthMs                                                 *stats.Histogram
}

func newCounters(store *stats.Store, name string) *counters {
	s := store.Scope("cluster."+stats.Sanitize(name)+".", stats.Tag{Name: "envoy_cluster_name", Value: stats.Sanitize(name)})
	return &counters{
		scope:              s,
		cxTotal:            s.Counter("upstream_cx_total"),
		cxHTTP2Total:       s.Counter("upstream_cx_http2_total"),
		cxConnectFail:      s.Counter("upstream_cx_connect_fail"),
		cxConnectTimeout:   s.Counter("upstream_cx_connect_timeout"),
		cxOverflow:         s.Counter("upstream_cx_overflow"),
		cxDestroy:          s.Counter("upstream_cx_destroy"),
		cxNoneHealthy:      s.Counter("upstream_cx_none_healthy"),
		cxIdleTimeout:      s.Counter("upstream_cx_idle_timeout"),
		cxRxBytes:          s.Counter("upstream_cx_rx_bytes_total"),
		cxTxBytes:          s.Counter("upstream_cx_tx_bytes_total"),
		cxProtocolError:    s.Counter("upstream_cx_protocol_error"),
		rqTotal:            s.Counter("upstream_rq_total"),
		rqPendingTotal:     s.Counter("upstream_rq_pending_total"),
		rqPendingOverflow:  s.Counter("upstream_rq_pending_overflow"),
		rqPendingFailure:   s.Counter("upstream_rq_pending_failure_eject"),
		rqCancelled:        s.Counter("upstream_rq_cancelled"),
		originalDstInvalid: s.Counter("original_dst_host_invalid"),
		updateAttempt:      s.Counter("update_attempt"),
		updateSuccess:      s.Counter("update_success"),
		updateFailure:      s.Counter("update_failure"),
		cxActive:           s.Gauge("upstream_cx_active"),
		rqActive:           s.Gauge("upstream_rq_active"),
		rqPendingActive:    s.Gauge("upstream_rq_pending_active"),
		membershipTotal:    s.Gauge("membership_total"),
		membershipHealthy:  s.Gauge("membership_healthy"),
		cxConnectMs:        s.Histogram("upstream_cx_connect_ms"),
		cxLengthMs:         s.Histogram("upstream_cx_length_ms"),
	}
}
