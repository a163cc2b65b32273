package hcm

import (
	"time"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"culvert/proxy/codec/h2"
)

// http2Config is the codec's configuration. What is unset is the codec's
// default.
func http2Config(m *hcmv3.HttpConnectionManager, drain time.Duration, stats *h2.Stats) h2.Config {
	o := m.GetHttp2ProtocolOptions()
	common := m.GetCommonHttpProtocolOptions()
	keepalive := o.GetConnectionKeepalive()
	cfg := h2.Config{
		MaxConcurrentStreams:     number(o.GetMaxConcurrentStreams()),
		StreamWindow:             number(o.GetInitialStreamWindowSize()),
		ConnWindow:               number(o.GetInitialConnectionWindowSize()),
		HeaderTableSize:          number(o.GetHpackTableSize()),
		MaxHeaderListSize:        number(m.GetMaxRequestHeadersKb()) << 10,
		MaxHeaders:               number(common.GetMaxHeadersCount()),
		AllowConnect:             o.GetAllowConnect(),
		KeepaliveInterval:        duration(keepalive.GetInterval()),
		KeepaliveTimeout:         duration(keepalive.GetTimeout()),
		IdleTimeout:              DefaultIdleTimeout,
		DrainTimeout:             drain,
		FlushTimeout:             duration(m.GetStreamFlushTimeout()),
		MaxOutboundFrames:        number(o.GetMaxOutboundFrames()),
		MaxOutboundControlFrames: number(o.GetMaxOutboundControlFrames()),
		MaxEmptyFrames:           number(o.GetMaxConsecutiveInboundFramesWithEmptyPayload()),
		MaxPriorityFrames:        number(o.GetMaxInboundPriorityFramesPerStream()),
		MaxWindowUpdates:         number(o.GetMaxInboundWindowUpdateFramesPerDataFrameSent()),
		Stats:                    stats,
	}
	if d := m.GetRequestHeadersTimeout(); d != nil {
		cfg.HeadTimeout = orOff(d)
	}
	if d := common.GetIdleTimeout(); d != nil {
		cfg.IdleTimeout = orOff(d)
	}
	return cfg
}

// orOff is d, or what turns a timer of the codec off for 0.
func orOff(d *durationpb.Duration) time.Duration {
	if d.AsDuration() == 0 {
		return -1
	}
	return d.AsDuration()
}

func number(v *wrapperspb.UInt32Value) int { return int(v.GetValue()) }
