package cluster

import (
	"math"
	"slices"
	"time"

	culvertv1 "culvert/configs/culvert/v1"
	"culvert/configs/field"
	"culvert/proxy/codec/h2"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// defaultIdle ends an HTTP connection without streams, as Envoy's idle_timeout.
const defaultIdle = time.Hour

// httpSettings are how the cluster speaks HTTP.
type httpSettings struct {
	// http2 is false for a cluster that is not configured for it: it speaks
	// HTTP/1.1, of which culvert has no client yet.
	http2      bool
	maxStreams int64 // our own bound of streams on a connection
	config     h2.Config
}

// options are what typed_extension_protocol_options holds.
type options struct {
	http   httpSettings
	egress *egressPolicy // nil: none given
}

func newOptions(m *clusterv3.Cluster, n *counters) (options, error) {
	var o options
	var typed *httpv3.HttpProtocolOptions
	var errs []error
	names := make([]string, 0, len(m.GetTypedExtensionProtocolOptions()))
	for name := range m.GetTypedExtensionProtocolOptions() {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		path := "typed_extension_protocol_options[" + name + "]"
		msg, err := m.GetTypedExtensionProtocolOptions()[name].UnmarshalNew()
		if err != nil {
			errs = append(errs, field.At(path, err))
			continue
		}
		switch msg := msg.(type) {
		case *httpv3.HttpProtocolOptions:
			typed = msg
		case *culvertv1.EgressPolicy:
			o.egress, err = newEgressPolicy(msg)
			errs = append(errs, field.At(path, err))
		default:
			errs = append(errs, field.Errorf(path, "no protocol options of type %s", msg.ProtoReflect().Descriptor().FullName()))
		}
	}
	o.http = newHTTPSettings(m, typed, n)
	return o, field.Join(errs...)
}

// newHTTPSettings prefers the typed options to the cluster's own deprecated
// fields, as Envoy does.
func newHTTPSettings(m *clusterv3.Cluster, typed *httpv3.HttpProtocolOptions, n *counters) httpSettings {
	common, h2opts := m.GetCommonHttpProtocolOptions(), m.GetHttp2ProtocolOptions()
	set := h2opts != nil
	if typed != nil {
		common = typed.GetCommonHttpProtocolOptions()
		_, ok := typed.GetExplicitHttpConfig().GetProtocolConfig().(*httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions)
		set, h2opts = ok, typed.GetExplicitHttpConfig().GetHttp2ProtocolOptions()
	}
	s := httpSettings{http2: set, maxStreams: math.MaxInt64}
	s.config = h2Config(common, h2opts)
	s.config.Stats = h2.NewStats(n.scope.Scope("http2.").Counter, n.scope.Scope("http2.").Gauge)
	if v := h2opts.GetMaxConcurrentStreams(); v != nil {
		s.maxStreams = int64(v.GetValue())
	}
	return s
}

func h2Config(common *corev3.HttpProtocolOptions, m *corev3.Http2ProtocolOptions) h2.Config {
	c := h2.Config{
		IdleTimeout:              orDefault(common.GetIdleTimeout(), defaultIdle),
		MaxHeaders:               int(common.GetMaxHeadersCount().GetValue()),
		MaxHeaderListSize:        int(common.GetMaxResponseHeadersKb().GetValue()) << 10,
		HeaderTableSize:          int(m.GetHpackTableSize().GetValue()),
		StreamWindow:             int(m.GetInitialStreamWindowSize().GetValue()),
		ConnWindow:               int(m.GetInitialConnectionWindowSize().GetValue()),
		MaxOutboundFrames:        int(m.GetMaxOutboundFrames().GetValue()),
		MaxOutboundControlFrames: int(m.GetMaxOutboundControlFrames().GetValue()),
		MaxEmptyFrames:           int(m.GetMaxConsecutiveInboundFramesWithEmptyPayload().GetValue()),
		MaxPriorityFrames:        int(m.GetMaxInboundPriorityFramesPerStream().GetValue()),
		MaxWindowUpdates:         int(m.GetMaxInboundWindowUpdateFramesPerDataFrameSent().GetValue()),
	}
	if k := m.GetConnectionKeepalive(); k != nil {
		c.KeepaliveInterval = orDefault(k.GetInterval(), -1)
		c.KeepaliveTimeout = k.GetTimeout().AsDuration()
	}
	return c
}

// orDefault reads a duration: absent is def, zero is off (negative in h2).
func orDefault(d *durationpb.Duration, def time.Duration) time.Duration {
	switch {
	case d == nil:
		return def
	case d.AsDuration() <= 0:
		return -1
	}
	return d.AsDuration()
}
