package cluster

import (
	"culvert/configs/field"
)

// Honoured declares the fields this package reads; what a transport_socket
// holds is the transport's to declare.
func Honoured() field.Honoured {
	return field.Honoured{
		"envoy.config.cluster.v3.Cluster": "name alt_stat_name type cluster_type connect_timeout lb_policy load_balancing_policy " +
			"least_request_lb_config ring_hash_lb_config original_dst_lb_config load_assignment circuit_breakers preconnect_policy " +
			"upstream_http_protocol_options common_http_protocol_options http_protocol_options http2_protocol_options " +
			"max_requests_per_connection protocol_selection typed_extension_protocol_options " +
			"dns_lookup_family dns_refresh_rate dns_failure_refresh_rate respect_dns_ttl cleanup_interval transport_socket metadata upstream_bind_config",
		"envoy.config.cluster.v3.Cluster.CustomClusterType":    "name typed_config",
		"envoy.config.cluster.v3.Cluster.OriginalDstLbConfig":  "use_http_header http_header_name upstream_port_override metadata_key",
		"envoy.config.cluster.v3.Cluster.LeastRequestLbConfig": "choice_count",
		"envoy.config.cluster.v3.Cluster.RingHashLbConfig":     "minimum_ring_size hash_function maximum_ring_size",
		"envoy.config.cluster.v3.Cluster.RefreshRate":          "base_interval max_interval",
		"envoy.config.cluster.v3.Cluster.PreconnectPolicy":     "per_upstream_preconnect_ratio predictive_preconnect_ratio",
		"envoy.config.cluster.v3.CircuitBreakers":              "thresholds",
		"envoy.config.cluster.v3.CircuitBreakers.Thresholds": "priority max_connections max_pending_requests max_requests " +
			"max_retries track_remaining",
		"envoy.type.metadata.v3.MetadataKey":             "key path",
		"envoy.type.metadata.v3.MetadataKey.PathSegment": "key",

		"envoy.config.cluster.v3.LoadBalancingPolicy":                                          "policies",
		"envoy.config.cluster.v3.LoadBalancingPolicy.Policy":                                   "typed_extension_config",
		"envoy.config.core.v3.TypedExtensionConfig":                                            "name typed_config",
		"envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin":                   "",
		"envoy.extensions.load_balancing_policies.random.v3.Random":                            "",
		"envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided":         "",
		"envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest":               "choice_count enable_full_scan selection_method",
		"envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash":                       "hash_function minimum_ring_size maximum_ring_size use_hostname_for_hashing consistent_hashing_lb_config",
		"envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig":         "use_hostname_for_hashing",
		"envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig": "",

		"envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig": "dns_cache_config",
		"envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig": "name dns_lookup_family dns_refresh_rate dns_min_refresh_rate " +
			"host_ttl max_hosts dns_failure_refresh_rate dns_query_timeout preresolve_hostnames resolved_address_filter",
		"envoy.type.matcher.v3.AddressMatcher": "ranges invert_match",
		"xds.core.v3.CidrRange":                "address_prefix prefix_len",

		"envoy.config.endpoint.v3.ClusterLoadAssignment": "cluster_name endpoints",
		"envoy.config.endpoint.v3.LocalityLbEndpoints":   "lb_endpoints locality priority metadata",
		"envoy.config.endpoint.v3.LbEndpoint":            "endpoint health_status load_balancing_weight metadata",
		"envoy.config.endpoint.v3.Endpoint":              "address hostname",
		"envoy.config.core.v3.Metadata":                  "filter_metadata typed_filter_metadata",
		"envoy.config.core.v3.Locality":                  "region zone sub_zone",
		"envoy.config.core.v3.Address":                   "socket_address pipe envoy_internal_address",
		"envoy.config.core.v3.SocketAddress":             "protocol address port_value",
		"envoy.config.core.v3.Pipe":                      "path",
		"envoy.config.core.v3.BindConfig":                "source_address extra_source_addresses",
		"envoy.config.core.v3.ExtraSourceAddress":        "address",
		"envoy.config.core.v3.EnvoyInternalAddress":      "server_listener_name endpoint_id",
		"envoy.config.core.v3.TransportSocket":           "name typed_config",

		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": "common_http_protocol_options upstream_http_protocol_options " +
			"explicit_http_config auto_config use_downstream_protocol_config",
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig":      "http_protocol_options http2_protocol_options",
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig":          "http_protocol_options http2_protocol_options",
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig": "http_protocol_options http2_protocol_options",
		"envoy.config.core.v3.UpstreamHttpProtocolOptions":                               "auto_sni auto_san_validation override_auto_sni_header",
		"envoy.config.core.v3.HttpProtocolOptions": "idle_timeout max_connection_duration max_stream_duration max_headers_count " +
			"max_response_headers_kb max_requests_per_connection",
		"envoy.config.core.v3.Http1ProtocolOptions":                                 "header_key_format enable_trailers send_fully_qualified_url",
		"envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat":                 "proper_case_words stateful_formatter",
		"envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords": "",
		"envoy.config.core.v3.Http2ProtocolOptions": "hpack_table_size max_concurrent_streams initial_stream_window_size " +
			"initial_connection_window_size allow_connect max_outbound_frames max_outbound_control_frames " +
			"max_consecutive_inbound_frames_with_empty_payload max_inbound_priority_frames_per_stream " +
			"max_inbound_window_update_frames_per_data_frame_sent connection_keepalive",
		"envoy.config.core.v3.KeepaliveSettings": "interval timeout",

		"culvert.v1.EgressPolicy": "allow deny only_allowed allow_loopback allow_link_local allow_metadata allow_private allow_own_addresses",
		"culvert.v1.EgressRange":  "prefix ports",
		"culvert.v1.PortRange":    "first last",
	}
}
