package configs

import (
	"slices"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// lintConnectUpgrades finds routes that match CONNECT where nothing allows it:
// it is answered 403, whatever the route says.
func lintConnectUpgrades(b *bootstrapv3.Bootstrap) []error {
	var found []error
	for _, m := range managers(b) {
		if m.upgradesConnect() {
			continue
		}
		for _, r := range m.routes() {
			if r.matchesConnect() && r.route.GetRoute() != nil && r.connectUpgrade() == nil {
				found = append(found, suspicion(r.path+".route", "upgrade_configs: [{upgrade_type: CONNECT}] here or in the connection manager",
					"this route of %s matches CONNECT, and no upgrade_configs allows it: every CONNECT is answered 403", r.name()))
			}
		}
	}
	return found
}

// upgradesConnect reports whether the manager allows CONNECT on all routes.
func (m manager) upgradesConnect() bool {
	return slices.ContainsFunc(m.hcm.GetUpgradeConfigs(), func(u *hcmv3.HttpConnectionManager_UpgradeConfig) bool {
		return strings.EqualFold(u.GetUpgradeType(), "CONNECT") && (u.GetEnabled() == nil || u.GetEnabled().GetValue())
	})
}

// lintALPN finds TLS that offers other protocols than the only one that is
// spoken behind it.
func lintALPN(b *bootstrapv3.Bootstrap) []error {
	var found []error
	for _, m := range managers(b) {
		tls := &tlsv3.DownstreamTlsContext{}
		if m.hcm.GetCodecType() != hcmv3.HttpConnectionManager_HTTP2 || m.chain.GetTransportSocket().GetTypedConfig().UnmarshalTo(tls) != nil {
			continue
		}
		if offered := tls.GetCommonTlsContext().GetAlpnProtocols(); len(offered) > 0 && !slices.Contains(offered, "h2") {
			found = append(found, suspicion(m.chainPath+".transport_socket.typed_config.common_tls_context.alpn_protocols", "alpn_protocols: [h2]",
				"clients are offered %q, and codec_type HTTP2 speaks h2 only", strings.Join(offered, ", ")))
		}
	}
	return found
}
