package hcm

import (
	"time"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"culvert/proxy/codec/h1"
)

// http1Config is the codec's configuration. What is unset is the codec's
// default.
func http1Config(m *hcmv3.HttpConnectionManager, drain time.Duration, stats *h1.Stats) h1.Config {
	o := m.GetHttpProtocolOptions()
	common := m.GetCommonHttpProtocolOptions()
	cfg := h1.Config{
		MaxHeadBytes: number(m.GetMaxRequestHeadersKb()) << 10,
		MaxHeaders:   number(common.GetMaxHeadersCount()),
		AcceptHTTP10: o.GetAcceptHttp_10(),
		DefaultHost:  o.GetDefaultHostForHttp_10(),
		IdleTimeout:  DefaultIdleTimeout,
		DrainTimeout: drain,
		Stats:        stats,
	}
	if o.GetHeaderKeyFormat().GetProperCaseWords() != nil {
		cfg.HeaderCase = h1.ProperCase
	}
	if d := m.GetRequestHeadersTimeout(); d != nil {
		cfg.HeadTimeout = orOff(d)
	}
	if d := common.GetIdleTimeout(); d != nil {
		cfg.IdleTimeout = orOff(d)
	}
	return cfg
}
