package configs

import (
	"fmt"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"culvert/configs/field"
)

// Lint lists what is allowed and probably not meant, each with its fix.
func (d *Document) Lint() []Problem {
	var found []error
	for _, rule := range []func(*bootstrapv3.Bootstrap) []error{
		lintConnectRoutes, lintConnectDomains, lintConnectUpgrades, lintALPN, lintUpstreamTLS, lintOpenRelays,
		lintTCPClusters, lintTunnelHostnames,
	} {
		found = append(found, rule(d.Bootstrap)...)
	}
	return d.Problems(field.Join(found...))
}

// suspicion is one finding of a rule.
func suspicion(path, fix, format string, args ...any) error {
	return field.WithFix(field.Errorf(path, format, args...), fix)
}

// manager is an HTTP connection manager and where it stands.
type manager struct {
	path      string // of its typed_config
	chainPath string
	listener  *listenerv3.Listener
	chain     *listenerv3.FilterChain
	hcm       *hcmv3.HttpConnectionManager
}

// managers lists the HTTP connection managers of all listeners.
func managers(b *bootstrapv3.Bootstrap) []manager {
	var out []manager
	for i, l := range b.GetStaticResources().GetListeners() {
		path := field.Index("static_resources.listeners", i)
		for j, c := range l.GetFilterChains() {
			out = append(out, managersOf(field.Index(path+".filter_chains", j), l, c)...)
		}
		out = append(out, managersOf(path+".default_filter_chain", l, l.GetDefaultFilterChain())...)
	}
	return out
}

func managersOf(path string, l *listenerv3.Listener, c *listenerv3.FilterChain) []manager {
	var out []manager
	for i, f := range c.GetFilters() {
		hcm := &hcmv3.HttpConnectionManager{}
		if f.GetTypedConfig().UnmarshalTo(hcm) == nil {
			out = append(out, manager{field.Index(path+".filters", i) + ".typed_config", path, l, c, hcm})
		}
	}
	return out
}

// lintedRoute is a route and what is around it.
type lintedRoute struct {
	manager
	path     string
	hostPath string
	host     *routev3.VirtualHost
	route    *routev3.Route
}

// routes lists the routes of a manager.
func (m manager) routes() []lintedRoute {
	var out []lintedRoute
	for i, host := range m.hcm.GetRouteConfig().GetVirtualHosts() {
		hostPath := field.Index(m.path+".route_config.virtual_hosts", i)
		for j, r := range host.GetRoutes() {
			out = append(out, lintedRoute{m, field.Index(hostPath+".routes", j), hostPath, host, r})
		}
	}
	return out
}

// connectUpgrade is the route's own CONNECT upgrade; nil if it has none, or has
// switched it off.
func (r lintedRoute) connectUpgrade() *routev3.RouteAction_UpgradeConfig {
	for _, u := range r.route.GetRoute().GetUpgradeConfigs() {
		if strings.EqualFold(u.GetUpgradeType(), "CONNECT") && (u.GetEnabled() == nil || u.GetEnabled().GetValue()) {
			return u
		}
	}
	return nil
}

func (r lintedRoute) matchesConnect() bool { return r.route.GetMatch().GetConnectMatcher() != nil }

// name is what a person calls the route's virtual host.
func (r lintedRoute) name() string { return fmt.Sprintf("virtual host %q", r.host.GetName()) }
