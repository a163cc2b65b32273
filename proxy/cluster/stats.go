package cluster

import (
	"sync"

	"culvert/proxy/stats"
)

// counters are the metrics of one cluster, under Envoy's names.
type counters struct {
	scope *stats.Scope
	codes sync.Map // of upstream_rq_<code>, by code or class

	cxTotal, cxHTTP1Total, cxHTTP2Total, cxMaxDuration, cxMaxRequests, cxDestroyWithRq, cxConnectFail, cxConnectTimeout, cxOverflow, cxDestroy, cxSpread, egressRefused,
	cxNoneHealthy, bindErrors, cxIdleTimeout, cxRxBytes, cxTxBytes, cxProtocolError,
	rqTotal, rqPendingTotal, rqPendingOverflow, rqPendingFailure, rqCancelled,
	rqMaxDuration, rqTimeout, rqRetry, rqRetryOverflow, rqCompleted, membershipChange,
	originalDstInvalid, updateAttempt, updateSuccess, updateFailure *stats.Counter
	cxActive, rqActive, rqPendingActive, membershipTotal, membershipHealthy, membershipDegraded *stats.Gauge
	cxConnectMs, cxLengthMs, rqTime, rqPerCx                                                    *stats.Histogram
}

func newCounters(store *stats.Store, name string) *counters {
	s := store.Scope("cluster."+stats.Sanitize(name)+".", stats.Tag{Name: "envoy_cluster_name", Value: stats.Sanitize(name)})
	return &counters{
		scope:              s,
		cxTotal:            s.Counter("upstream_cx_total"),
		cxHTTP1Total:       s.Counter("upstream_cx_http1_total"),
		cxHTTP2Total:       s.Counter("upstream_cx_http2_total"),
		cxMaxDuration:      s.Counter("upstream_cx_max_duration_reached"),
		cxMaxRequests:      s.Counter("upstream_cx_max_requests"),
		cxDestroyWithRq:    s.Counter("upstream_cx_destroy_with_active_rq"),
		cxConnectFail:      s.Counter("upstream_cx_connect_fail"),
		egressRefused:      s.Counter("egress_policy_refused"), // ours
		cxSpread:           s.Counter("upstream_cx_spread"),    // ours
		cxConnectTimeout:   s.Counter("upstream_cx_connect_timeout"),
		cxOverflow:         s.Counter("upstream_cx_overflow"),
		cxDestroy:          s.Counter("upstream_cx_destroy"),
		cxNoneHealthy:      s.Counter("upstream_cx_none_healthy"),
		bindErrors:         s.Counter("bind_errors"),
		cxIdleTimeout:      s.Counter("upstream_cx_idle_timeout"),
		cxRxBytes:          s.Counter("upstream_cx_rx_bytes_total"),
		cxTxBytes:          s.Counter("upstream_cx_tx_bytes_total"),
		cxProtocolError:    s.Counter("upstream_cx_protocol_error"),
		rqTotal:            s.Counter("upstream_rq_total"),
		rqMaxDuration:      s.Counter("upstream_rq_max_duration_reached"),
		rqTimeout:          s.Counter("upstream_rq_timeout"),
		rqRetry:            s.Counter("upstream_rq_retry"),
		rqRetryOverflow:    s.Counter("upstream_rq_retry_overflow"),
		rqCompleted:        s.Counter("upstream_rq_completed"),
		membershipChange:   s.Counter("membership_change"),
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
		membershipDegraded: s.Gauge("membership_degraded"),
		cxConnectMs:        s.Histogram("upstream_cx_connect_ms"),
		cxLengthMs:         s.Histogram("upstream_cx_length_ms"),
		rqTime:             s.Histogram("upstream_rq_time"),
		rqPerCx:            s.Histogram("upstream_rq_per_cx"),
	}
}

// code is the counter of a response code, or of a class such as 2xx.
func (n *counters) code(code string) *stats.Counter {
	if c, ok := n.codes.Load(code); ok {
		return c.(*stats.Counter)
	}
	c := n.scope.Counter("upstream_rq_" + code)
	n.codes.Store(code, c)
	return c
}
