package cluster

import (
	"math"
	"slices"
	"time"

	culvertv1 "culvert/configs/culvert/v1"
	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// defaultIdle ends an HTTP connection without streams, as Envoy's idle_timeout.
const defaultIdle = time.Hour

// httpSettings are how the cluster speaks HTTP.
type httpSettings struct {
	speaks     speech
	downstream bool // the downstream's protocol decides instead
	explicit   bool // somebody said what it speaks
	h1         h1.Config
	h2         h2.Config
	// Of streams, where h2 has no window; may be nil.
	window  func() int
	mayGrow func() bool

	maxStreams    int64         // at once on an HTTP/2 connection, our own bound
	maxRequests   int64         // in all on a connection
	maxConnection time.Duration // 0: none
	maxStream     time.Duration // 0: none
	autoSNI       bool
	sniHeader     string // where the name comes from instead of :authority
}

// speaksFor is what a request's connection speaks.
func (s *httpSettings) speaksFor(head *codec.Request, info *network.StreamInfo) speech {
	if !s.downstream {
		return s.speaks
	}
	if head.Proto == codec.HTTP2 || info.Protocol == codec.HTTP2.String() {
		return speaksHTTP2
	}
	return speaksHTTP1
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
	at := ""
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
			typed, at = msg, path
		case *culvertv1.EgressPolicy:
			o.egress, err = newEgressPolicy(msg)
			errs = append(errs, field.At(path, err))
		default:
			errs = append(errs, field.Errorf(path, "no protocol options of type %s", msg.ProtoReflect().Descriptor().FullName()))
		}
	}
	// The typed options go before the cluster's own deprecated fields, as in
	// Envoy.
	var err error
	if typed != nil {
		o.http, err = typedSettings(typed)
	} else {
		o.http, err = oldSettings(m)
	}
	o.http.h1.Stats = h1.NewStats(n.scope.Scope("http1.").Counter)
	o.http.h2.Stats = h2.NewStats(n.scope.Scope("http2.").Counter, n.scope.Scope("http2.").Gauge)
	return o, field.Join(field.Join(errs...), field.At(at, err))
}

// oldSettings reads the deprecated fields of the cluster itself.
func oldSettings(m *clusterv3.Cluster) (httpSettings, error) {
	var s httpSettings
	s.upstream(m.GetUpstreamHttpProtocolOptions())
	err := s.fill(m.GetCommonHttpProtocolOptions(), m.GetHttpProtocolOptions(), m.GetHttp2ProtocolOptions(), "http_protocol_options")
	switch {
	case m.GetProtocolSelection() == clusterv3.Cluster_USE_DOWNSTREAM_PROTOCOL:
		s.downstream, s.explicit = true, true
	case m.GetHttp2ProtocolOptions() != nil:
		s.speaks, s.explicit = speaksHTTP2, true
	}
	if v := m.GetMaxRequestsPerConnection(); v != nil {
		s.requests(int64(v.GetValue()))
	}
	return s, err
}

// typedSettings reads HttpProtocolOptions.
func typedSettings(m *httpv3.HttpProtocolOptions) (httpSettings, error) {
	s := httpSettings{explicit: true}
	s.upstream(m.GetUpstreamHttpProtocolOptions())
	common := m.GetCommonHttpProtocolOptions()
	switch o := m.GetUpstreamProtocolOptions().(type) {
	case *httpv3.HttpProtocolOptions_ExplicitHttpConfig_:
		if _, ok := o.ExplicitHttpConfig.GetProtocolConfig().(*httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions); ok {
			s.speaks = speaksHTTP2
		}
		return s, s.fill(common, o.ExplicitHttpConfig.GetHttpProtocolOptions(), o.ExplicitHttpConfig.GetHttp2ProtocolOptions(),
			"explicit_http_config.http_protocol_options")
	case *httpv3.HttpProtocolOptions_AutoConfig:
		s.speaks = speaksEither
		return s, s.fill(common, o.AutoConfig.GetHttpProtocolOptions(), o.AutoConfig.GetHttp2ProtocolOptions(),
			"auto_config.http_protocol_options")
	case *httpv3.HttpProtocolOptions_UseDownstreamProtocolConfig:
		s.downstream = true
		return s, s.fill(common, o.UseDownstreamProtocolConfig.GetHttpProtocolOptions(), o.UseDownstreamProtocolConfig.GetHttp2ProtocolOptions(),
			"use_downstream_protocol_config.http_protocol_options")
	}
	return s, s.fill(common, nil, nil, "")
}

func (s *httpSettings) upstream(m *corev3.UpstreamHttpProtocolOptions) {
	s.autoSNI, s.sniHeader = m.GetAutoSni(), m.GetOverrideAutoSniHeader()
}

func (s *httpSettings) fill(common *corev3.HttpProtocolOptions, m1 *corev3.Http1ProtocolOptions, m2 *corev3.Http2ProtocolOptions, path string) error {
	s.maxStreams, s.maxRequests = math.MaxInt32, math.MaxInt64
	if v := m2.GetMaxConcurrentStreams(); v != nil {
		s.maxStreams = int64(v.GetValue())
	}
	s.maxConnection = common.GetMaxConnectionDuration().AsDuration()
	s.maxStream = common.GetMaxStreamDuration().AsDuration()
	s.h2 = h2Config(common, m2)
	var err error
	s.h1, err = h1Config(common, m1)
	s.requests(int64(common.GetMaxRequestsPerConnection().GetValue()))
	return field.At(path, err)
}

// requests bounds the requests of a connection; 0 is no bound.
func (s *httpSettings) requests(n int64) {
	if n > 0 {
		s.maxRequests = n
		s.h1.MaxRequests = int(n)
	}
}

// h1Config reads what matters to a client. Trailers are sent and taken whatever
// enable_trailers says, as codec h1 does.
func h1Config(common *corev3.HttpProtocolOptions, m *corev3.Http1ProtocolOptions) (h1.Config, error) {
	c := h1.Config{
		IdleTimeout:  orDefault(common.GetIdleTimeout(), defaultIdle),
		MaxHeaders:   int(common.GetMaxHeadersCount().GetValue()),
		MaxHeadBytes: int(common.GetMaxResponseHeadersKb().GetValue()) << 10,
		AbsoluteForm: m.GetSendFullyQualifiedUrl(),
	}
	switch f := m.GetHeaderKeyFormat().GetHeaderFormat().(type) {
	case *corev3.Http1ProtocolOptions_HeaderKeyFormat_ProperCaseWords_:
		c.HeaderCase = h1.ProperCase
	case *corev3.Http1ProtocolOptions_HeaderKeyFormat_StatefulFormatter:
		if !preservesCase(f.StatefulFormatter) {
			return c, field.Errorf("header_key_format.stateful_formatter", "the only formatter is preserve_case")
		}
		c.HeaderCase = h1.PreserveCase
	}
	return c, nil
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

// orDefault reads a duration: absent is def, zero is off (negative in a codec).
func orDefault(d *durationpb.Duration, def time.Duration) time.Duration {
	switch {
	case d == nil:
		return def
	case d.AsDuration() <= 0:
		return -1
	}
	return d.AsDuration()
}
