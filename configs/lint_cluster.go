package configs

import (
	"net"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"culvert/configs/field"
)

// tcpProxy is a TCP proxy and where its typed_config stands.
type tcpProxy struct {
	path string
	m    *tcpproxyv3.TcpProxy
}

// tcpProxies lists the TCP proxies of all listeners.
func tcpProxies(b *bootstrapv3.Bootstrap) []tcpProxy {
	var out []tcpProxy
	add := func(path string, c *listenerv3.FilterChain) {
		for i, f := range c.GetFilters() {
			m := &tcpproxyv3.TcpProxy{}
			if f.GetTypedConfig().UnmarshalTo(m) == nil {
				out = append(out, tcpProxy{field.Index(path+".filters", i) + ".typed_config", m})
			}
		}
	}
	for i, l := range b.GetStaticResources().GetListeners() {
		path := field.Index("static_resources.listeners", i)
		for j, c := range l.GetFilterChains() {
			add(field.Index(path+".filter_chains", j), c)
		}
		add(path+".default_filter_chain", l.GetDefaultFilterChain())
	}
	return out
}

// lintTCPClusters finds TCP proxies whose cluster is not there. Envoy takes
// that, for clusters that come later; here none does.
func lintTCPClusters(b *bootstrapv3.Bootstrap) []error {
	known := make(map[string]bool)
	for _, c := range b.GetStaticResources().GetClusters() {
		known[c.GetName()] = true
	}
	var found []error
	check := func(path, name string) {
		if name != "" && !known[name] {
			found = append(found, suspicion(path, "name a cluster of static_resources.clusters",
				"unknown cluster '%s': every flow is refused", name))
		}
	}
	for _, p := range tcpProxies(b) {
		check(p.path+".cluster", p.m.GetCluster())
		for i, w := range p.m.GetWeightedClusters().GetClusters() {
			check(field.Index(p.path+".weighted_clusters.clusters", i)+".name", w.GetName())
		}
	}
	return found
}

// lintTunnelHostnames finds tunnels whose fixed target has no port: a CONNECT
// without one is refused (RFC 9110 §9.3.6).
func lintTunnelHostnames(b *bootstrapv3.Bootstrap) []error {
	var found []error
	for _, p := range tcpProxies(b) {
		t := p.m.GetTunnelingConfig()
		host := t.GetHostname()
		if host == "" || t.GetUsePost() || strings.Contains(host, "%") {
			continue
		}
		if _, port, err := net.SplitHostPort(host); err != nil || port == "" {
			found = append(found, suspicion(p.path+".tunneling_config.hostname", "write "+host+":443, or the port it is for",
				"CONNECT asks for an authority with a port, and %q has none", host))
		}
	}
	return found
}
