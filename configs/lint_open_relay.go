package configs

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	quicv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/quic/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	culvertv1 "culvert/configs/culvert/v1"
)

// lintOpenRelays finds listeners at which anybody who reaches them can make this
// machine connect to a target of their choice: not on loopback, taking CONNECT
// apart, the target from the request, and neither a client certificate nor a
// filter that authenticates, nor a list of what is allowed.
func lintOpenRelays(b *bootstrapv3.Bootstrap) []error {
	var found []error
	for _, m := range managers(b) {
		address, exposed := exposedAddress(m.listener)
		if !exposed || requiresClientCertificate(m.chain) || m.authenticates() {
			continue
		}
		for _, r := range m.routes() {
			if r.connectUpgrade().GetConnectConfig() == nil || r.asksForCredentials() {
				continue
			}
			if c := relayCluster(b, r.route.GetRoute()); c != nil {
				found = append(found, suspicion(r.path, "require_client_certificate: true with trusted_ca in the chain's transport_socket; "+
					"or only_allowed with allow in a culvert.v1.EgressPolicy of the cluster; or bind to 127.0.0.1",
					"open relay: whoever reaches %s can connect through cluster %q to a target of their choice", address, c.GetName()))
			}
		}
	}
	return found
}

// exposedAddress is where a listener can be reached from other machines.
func exposedAddress(l *listenerv3.Listener) (string, bool) {
	addresses := []*listenerv3.AdditionalAddress{{Address: l.GetAddress()}}
	for _, a := range append(addresses, l.GetAdditionalAddresses()...) {
		s := a.GetAddress().GetSocketAddress()
		if s == nil {
			continue // a path or an internal listener
		}
		if ip, err := netip.ParseAddr(s.GetAddress()); err != nil || !ip.Unmap().IsLoopback() {
			return net.JoinHostPort(s.GetAddress(), strconv.Itoa(int(s.GetPortValue()))), true
		}
	}
	return "", false
}

func requiresClientCertificate(c *listenerv3.FilterChain) bool {
	config := c.GetTransportSocket().GetTypedConfig()
	tls, quic := &tlsv3.DownstreamTlsContext{}, &quicv3.QuicDownstreamTransport{}
	switch {
	case config.UnmarshalTo(tls) == nil:
	case config.UnmarshalTo(quic) == nil:
		tls = quic.GetDownstreamTlsContext()
	}
	return tls.GetRequireClientCertificate().GetValue()
}

// authenticates reports whether a filter in front of the router can refuse
// clients.
func (m manager) authenticates() bool {
	for _, f := range m.hcm.GetHttpFilters() {
		if isGuard(f.GetTypedConfig().GetTypeUrl()) {
			return true
		}
	}
	for _, f := range m.chain.GetFilters() {
		if isGuard(f.GetTypedConfig().GetTypeUrl()) {
			return true
		}
	}
	return false
}

// isGuard knows the extensions that decide who may pass.
func isGuard(typeURL string) bool {
	return slices.ContainsFunc([]string{".rbac.", ".basic_auth.", ".jwt_authn.", ".ext_authz.", ".api_key_auth.", ".oauth2."},
		func(name string) bool {
			return strings.Contains(typeURL, "envoy.extensions.filters.") && strings.Contains(typeURL, name)
		})
}

// asksForCredentials reports whether the route matches on them.
func (r lintedRoute) asksForCredentials() bool {
	return slices.ContainsFunc(r.route.GetMatch().GetHeaders(), func(h *routev3.HeaderMatcher) bool {
		return strings.HasSuffix(strings.ToLower(h.GetName()), "authorization") && !h.GetInvertMatch()
	})
}

// relayCluster is a cluster of the route whose targets come from requests and
// are not listed; nil if there is none.
func relayCluster(b *bootstrapv3.Bootstrap, a *routev3.RouteAction) *clusterv3.Cluster {
	names := []string{a.GetCluster()}
	for _, w := range a.GetWeightedClusters().GetClusters() {
		names = append(names, w.GetName())
	}
	for _, c := range b.GetStaticResources().GetClusters() {
		if slices.Contains(names, c.GetName()) && clientChooses(c) && !listsTargets(c) {
			return c
		}
	}
	return nil
}

func clientChooses(c *clusterv3.Cluster) bool {
	forward := c.GetClusterType().GetTypedConfig().MessageName() == "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig"
	return forward || c.GetType() == clusterv3.Cluster_ORIGINAL_DST && c.GetOriginalDstLbConfig().GetUseHttpHeader()
}

func listsTargets(c *clusterv3.Cluster) bool {
	for _, a := range c.GetTypedExtensionProtocolOptions() {
		policy := &culvertv1.EgressPolicy{}
		if a.UnmarshalTo(policy) == nil && policy.GetOnlyAllowed() {
			return true
		}
	}
	return false
}
