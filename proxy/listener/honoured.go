package listener

import (
	"culvert/configs/field"
	"culvert/proxy/listenerfilter"
)

// Honoured declares the fields this package and the listener filters read; what a transport_socket or
// a filter holds is theirs to declare.
func Honoured() field.Honoured {
	const pkg = "envoy.config.listener.v3."
	h := field.Honoured{
		pkg + "Listener": "name address stat_prefix filter_chains default_filter_chain internal_listener bind_to_port access_log " +
			"listener_filters listener_filters_timeout continue_on_listener_filters_timeout",
		pkg + "Listener.InternalListenerConfig": "",
		pkg + "FilterChain":                     "filter_chain_match filters transport_socket transport_socket_connect_timeout name",
		pkg + "Filter":                          "name typed_config",
		"envoy.config.core.v3.Address":          "socket_address pipe",
		"envoy.config.core.v3.SocketAddress":    "protocol address port_value",
		"envoy.config.core.v3.Pipe":             "path",
		"envoy.config.core.v3.TransportSocket":  "name typed_config",
		"envoy.config.core.v3.CidrRange":        "address_prefix prefix_len",
		pkg + "FilterChainMatch": "destination_port prefix_ranges server_names transport_protocol application_protocols " +
			"direct_source_prefix_ranges source_type source_prefix_ranges source_ports",
	}
	h.Merge(listenerfilter.Honoured())
	return h
}
