package hcm

import (
	"fmt"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/codec/h2"
	"culvert/proxy/stats"
)

// counts are the metrics of one stat_prefix, http.<prefix>.*.
type counts struct {
	cxTotal, cxTLSTotal, cxDestroy, cxProtocolError, cxDrainClose, cxMaxDuration *stats.Counter
	cxActive, cxTLSActive                                                        *stats.Gauge
	cxLength                                                                     *stats.Histogram

	upgradesTotal  *stats.Counter
	upgradesActive *stats.Gauge

	rqTotal, rqCompleted, rqRxReset, rqTxReset, rqNonRelativePath *stats.Counter
	rqUpgradeRefused, rqIdleTimeout, rqMaxDuration                *stats.Counter
	rqTimeout, rqHeaderTimeout, rqOverload                        *stats.Counter
	rqNoRoute, rqNoCluster, rqRedirect, rqDirect                  *stats.Counter
	rqClass                                                       [5]*stats.Counter // 1xx to 5xx
	rqActive                                                      *stats.Gauge
	rqTime                                                        *stats.Histogram

	versions map[codec.Proto]*versionCounts

	http1 *h1.Stats
	http2 *h2.Stats
}

// versionCounts are the metrics of one HTTP version.
type versionCounts struct {
	cxTotal, rqTotal *stats.Counter
	cxActive         *stats.Gauge
}

// version is the counts of p.
func (c *counts) version(p codec.Proto) *versionCounts { return c.versions[p] }

func newCounts(store *stats.Store, prefix string) *counts {
	s := store.Scope("http."+stats.Sanitize(prefix)+".", stats.Tag{Name: "envoy_http_conn_manager_prefix", Value: prefix})
	c := &counts{
		cxTotal:    s.Counter("downstream_cx_total"),
		cxTLSTotal: s.Counter("downstream_cx_ssl_total"), cxDestroy: s.Counter("downstream_cx_destroy"),
		cxProtocolError: s.Counter("downstream_cx_protocol_error"), cxDrainClose: s.Counter("downstream_cx_drain_close"),
		cxMaxDuration: s.Counter("downstream_cx_max_duration_reached"),
		cxActive:      s.Gauge("downstream_cx_active"),
		cxTLSActive:   s.Gauge("downstream_cx_ssl_active"), cxLength: s.Histogram("downstream_cx_length_ms"),

		upgradesTotal:  s.Counter("downstream_cx_upgrades_total"),
		upgradesActive: s.Gauge("downstream_cx_upgrades_active"),

		rqTotal:     s.Counter("downstream_rq_total"),
		rqCompleted: s.Counter("downstream_rq_completed"), rqRxReset: s.Counter("downstream_rq_rx_reset"),
		rqTxReset: s.Counter("downstream_rq_tx_reset"), rqNonRelativePath: s.Counter("downstream_rq_non_relative_path"),
		rqUpgradeRefused: s.Counter("downstream_rq_ws_on_non_ws_route"), rqIdleTimeout: s.Counter("downstream_rq_idle_timeout"),
		rqMaxDuration: s.Counter("downstream_rq_max_duration_reached"),
		rqOverload:    s.Counter("downstream_rq_overload_close"),
		rqTimeout:     s.Counter("downstream_rq_timeout"), rqHeaderTimeout: s.Counter("downstream_rq_header_timeout"),
		rqNoRoute: s.Counter("no_route"), rqNoCluster: s.Counter("no_cluster"),
		rqRedirect: s.Counter("rq_redirect"), rqDirect: s.Counter("rq_direct_response"),
		rqActive: s.Gauge("downstream_rq_active"), rqTime: s.Histogram("downstream_rq_time"),
	}
	for i := range c.rqClass {
		c.rqClass[i] = s.Counter(fmt.Sprintf("downstream_rq_%dxx", i+1))
	}
	c.versions = make(map[codec.Proto]*versionCounts)
	for p, name := range map[codec.Proto]string{codec.HTTP11: "http1", codec.HTTP2: "http2"} {
		c.versions[p] = &versionCounts{
			cxTotal: s.Counter("downstream_cx_" + name + "_total"), cxActive: s.Gauge("downstream_cx_" + name + "_active"),
			rqTotal: s.Counter("downstream_rq_" + name + "_total"),
		}
	}
	c.http1 = h1.NewStats(store.Scope("http1.").Counter)
	two := store.Scope("http2.")
	c.http2 = h2.NewStats(two.Counter, two.Gauge)
	return c
}

// connection counts one that began; the function it returns, its end.
func (c *counts) connection(v *versionCounts, secure bool) (end func()) {
	began := time.Now()
	c.cxTotal.Inc()
	v.cxTotal.Inc()
	c.cxActive.Inc()
	v.cxActive.Inc()
	if secure {
		c.cxTLSTotal.Inc()
		c.cxTLSActive.Inc()
	}
	return func() {
		c.cxDestroy.Inc()
		c.cxActive.Dec()
		v.cxActive.Dec()
		if secure {
			c.cxTLSActive.Dec()
		}
		c.cxLength.Record(float64(time.Since(began).Milliseconds()))
	}
}

// completed counts the status of an exchange, 0 if none was sent.
func (c *counts) completed(status int) {
	c.rqCompleted.Inc()
	if class := status / 100; class >= 1 && class <= len(c.rqClass) {
		c.rqClass[class-1].Inc()
	}
}
