package cluster

import (
	"fmt"
	"net"
	"net/netip"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	preservecasev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/header_formatters/preserve_case/v3"
	rawbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// serverName is the SNI that a request asks for by auto_sni: the host it names.
// An IP is none (RFC 6066 §3).
func (s *httpSettings) serverName(head *codec.Request) string {
	if !s.autoSNI {
		return ""
	}
	name := head.Authority
	if s.sniHeader != "" && s.sniHeader != ":authority" {
		if v := head.Header.Get(s.sniHeader); v != "" {
			name = v
		}
	}
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return ""
	}
	return name
}

// StateServerName is the filter state that names the SNI of a flow's upstream
// connection instead of the configuration: what a filter has found out. The
// certificate must have the same name.
const StateServerName = "envoy.network.upstream_server_name"

// stateServerName is the SNI that filter state asks for, empty if it does not.
func stateServerName(info *network.StreamInfo) string {
	if info == nil {
		return ""
	}
	v, ok := info.LookupFilterState(StateServerName)
	if !ok {
		return ""
	}
	return fmt.Sprint(v)
}

// isAlike reports a transport whose connections are the same whoever they are
// for: raw bytes, or TLS alone.
func isAlike(ts *corev3.TransportSocket) bool {
	return ts == nil || ts.GetTypedConfig().MessageIs(new(rawbufferv3.RawBuffer)) ||
		ts.GetTypedConfig().MessageIs(new(tlsv3.UpstreamTlsContext))
}

// preservesCase reports the formatter that keeps the case of field names.
func preservesCase(m *corev3.TypedExtensionConfig) bool {
	return m.GetTypedConfig().MessageIs(new(preservecasev3.PreserveCaseFormatterConfig))
}
