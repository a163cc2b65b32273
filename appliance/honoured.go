package appliance

import (
	"culvert/appliance/overload"
	"culvert/configs/field"
	"culvert/proxy/accesslog"
	"culvert/proxy/cluster"
	"culvert/proxy/hcm"
	"culvert/proxy/httpfilter/dynamicforwardproxy"
	"culvert/proxy/httpfilter/router"
	"culvert/proxy/listener"
	"culvert/proxy/route"
	"culvert/proxy/tcpproxy"
	"culvert/proxy/transport"
)

// Honoured is every field that some constructor reads. The loader refuses all
// others: nothing is ignored in silence.
func Honoured() field.Honoured {
	h := field.Honoured{
		"envoy.config.bootstrap.v3.Bootstrap":                                    "node admin static_resources bootstrap_extensions overload_manager",
		"envoy.config.bootstrap.v3.Bootstrap.StaticResources":                    "listeners clusters",
		"envoy.config.bootstrap.v3.Admin":                                        "address allow_paths",
		"envoy.config.listener.v3.Listener":                                      "traffic_direction",
		"envoy.config.core.v3.Node":                                              "id cluster",
		"envoy.config.core.v3.TypedExtensionConfig":                              "name typed_config",
		"envoy.extensions.bootstrap.internal_listener.v3.InternalListener":       "buffer_size_kb",
		"envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter": "name typed_config",
		"culvert.v1.Tun": "name addresses mtu routes exclude_routes tcp_listener device netns queue_length " +
			"table rule_priority mark max_pending_connects max_pending_connects_per_source max_flows netstack_listeners",
		"culvert.v1.NetstackListener": "address port listener",
	}
	h.Merge(overload.Honoured(), accesslog.Honoured(), cluster.Honoured(), hcm.Honoured(), listener.Honoured(), route.Honoured(),
		router.Honoured(), dynamicforwardproxy.Honoured(), tcpproxy.Honoured(), transport.Honoured())
	return h
}
