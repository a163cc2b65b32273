package route

import (
	"culvert/configs/field"
	"culvert/proxy/matcher"
	"culvert/proxy/transport/proxyprotocol"
)

// Honoured declares the fields this package reads.
func Honoured() field.Honoured {
	const mutations = " request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove"
	h := field.Honoured{
		"envoy.config.route.v3.RouteConfiguration": "name virtual_hosts validate_clusters " +
			"max_direct_response_body_size_bytes ignore_port_in_host_matching most_specific_header_mutations_wins" + mutations,
		"envoy.config.route.v3.VirtualHost": "name domains routes" + mutations,
		"envoy.config.route.v3.Route":       "name match route redirect direct_response" + mutations,
		"envoy.config.route.v3.RouteMatch": "prefix path safe_regex connect_matcher path_separated_prefix " +
			"case_sensitive headers",
		"envoy.config.route.v3.RouteMatch.ConnectMatcher": "",
		"envoy.config.route.v3.RouteAction": "cluster cluster_header weighted_clusters " +
			"cluster_not_found_response_code prefix_rewrite host_rewrite_literal timeout idle_timeout upgrade_configs",
		"envoy.config.route.v3.WeightedCluster":                         "clusters total_weight",
		"envoy.config.route.v3.WeightedCluster.ClusterWeight":           "name cluster_header weight" + mutations,
		"envoy.config.route.v3.RouteAction.UpgradeConfig":               "upgrade_type enabled connect_config",
		"envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig": "allow_post proxy_protocol_config",
		"envoy.config.route.v3.RedirectAction": "https_redirect scheme_redirect host_redirect port_redirect " +
			"path_redirect prefix_rewrite response_code strip_query",
		"envoy.config.route.v3.DirectResponseAction": "status body",
		"envoy.config.core.v3.DataSource":            "filename inline_bytes inline_string",
		"envoy.config.core.v3.HeaderValueOption":     "header append append_action keep_empty_value",
		"envoy.config.core.v3.HeaderValue":           "key value raw_value",
	}
	h.Merge(proxyprotocol.Honoured(), matcher.Honoured())
	return h
}
