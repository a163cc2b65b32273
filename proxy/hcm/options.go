package hcm

import (
	"time"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"culvert/configs/field"
)

// Defaults, Envoy's where nothing else is said.
const (
	// DefaultServerName is what we call ourselves in Server, Via and
	// Proxy-Status.
	DefaultServerName = "culvert"
	// DefaultStreamIdleTimeout ends an exchange on which nothing moved. An
	// established tunnel has none unless it is configured: a quiet tunnel is
	// not a dead one.
	DefaultStreamIdleTimeout = 5 * time.Minute
	// DefaultIdleTimeout ends a connection without exchanges.
	DefaultIdleTimeout = time.Hour
)

// options are the plain settings of a connection manager.
type options struct {
	codec hcmv3.HttpConnectionManager_CodecType

	serverName   string
	serverHeader hcmv3.HttpConnectionManager_ServerHeaderTransformation
	via          string
	scheme       string // overwrites :scheme; empty leaves it

	proxyName     string // in Proxy-Status
	removeDetails bool   // from Proxy-Status

	streamIdle    time.Duration // 0: none
	streamIdleSet bool          // configured, so it holds for tunnels too
	maxStream     time.Duration // 0: none
	maxConnection time.Duration // 0: none
	request       time.Duration // for all of a request to come; 0: none

	generateID, preserveID, returnID bool
	remoteIsEdge, skipXFF            bool
	stripAnyPort, stripLocalPort     bool
	logNewRequest, logTunnel         bool
}

func newOptions(m *hcmv3.HttpConnectionManager, serverName string) (options, error) {
	o := options{
		serverName: firstOf(m.GetServerName(), serverName, DefaultServerName), serverHeader: m.GetServerHeaderTransformation(),
		via: m.GetVia(), scheme: m.GetSchemeHeaderTransformation().GetSchemeToOverwrite(),
		streamIdle: DefaultStreamIdleTimeout,
		generateID: m.GetGenerateRequestId() == nil || m.GetGenerateRequestId().Value,
		preserveID: m.GetPreserveExternalRequestId(), returnID: m.GetAlwaysSetRequestIdInResponse(),
		remoteIsEdge: m.GetUseRemoteAddress().GetValue(), skipXFF: m.GetSkipXffAppend(),
		logNewRequest: m.GetAccessLogOptions().GetFlushAccessLogOnNewRequest(),
		logTunnel:     m.GetAccessLogOptions().GetFlushLogOnTunnelSuccessfullyEstablished(),
		stripAnyPort:  m.GetStripAnyHostPort(), stripLocalPort: m.GetStripMatchingHostPort(),
		removeDetails: m.GetProxyStatusConfig().GetRemoveDetails(),
	}
	o.proxyName = firstOf(m.GetProxyStatusConfig().GetLiteralProxyName(), o.serverName)
	if d := m.GetStreamIdleTimeout(); d != nil {
		o.streamIdle, o.streamIdleSet = d.AsDuration(), true
	}
	common := m.GetCommonHttpProtocolOptions()
	o.maxStream = duration(common.GetMaxStreamDuration())
	o.maxConnection = duration(common.GetMaxConnectionDuration())
	o.request = duration(m.GetRequestTimeout())
	if o.codec = m.GetCodecType(); o.codec == hcmv3.HttpConnectionManager_HTTP3 {
		return o, field.WithFix(field.Errorf("codec_type", "%v downstream is not supported yet", o.codec), "use AUTO, HTTP1 or HTTP2")
	}
	if m.GetHttpProtocolOptions().GetHeaderKeyFormat().GetStatefulFormatter() != nil {
		return o, field.Errorf("http_protocol_options.header_key_format.stateful_formatter", "is not supported: names keep the case they came in")
	}
	return o, nil
}

func duration(d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.AsDuration()
}

func firstOf(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}
