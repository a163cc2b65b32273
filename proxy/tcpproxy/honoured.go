package tcpproxy

import "culvert/configs/field"

// Honoured declares the fields this package reads.
func Honoured() field.Honoured {
	const pkg = "envoy.extensions.filters.network.tcp_proxy.v3."
	return field.Honoured{
		pkg + "TcpProxy": "stat_prefix cluster weighted_clusters tunneling_config idle_timeout access_log max_connect_attempts " +
			"backoff_options max_downstream_connection_duration max_downstream_connection_duration_jitter_percentage " +
			"access_log_options access_log_flush_interval flush_access_log_on_connected upstream_connect_mode max_early_data_bytes hash_policy " +
			"proxy_protocol_tlvs proxy_protocol_tlv_merge_policy",
		pkg + "TcpProxy.WeightedCluster":               "clusters",
		pkg + "TcpProxy.WeightedCluster.ClusterWeight": "name weight",
		pkg + "TcpProxy.TunnelingConfig": "hostname use_post post_path headers_to_add propagate_response_headers " +
			"propagate_response_trailers request_id_extension request_id_header request_id_metadata_key",
		pkg + "TcpProxy.TcpAccessLogOptions":     "access_log_flush_interval flush_access_log_on_connected flush_access_log_on_start",
		"envoy.config.core.v3.BackoffStrategy":   "base_interval max_interval",
		"envoy.config.core.v3.HeaderValueOption": "header append append_action keep_empty_value",
		"envoy.config.core.v3.HeaderValue":       "key value raw_value",
		"envoy.type.v3.HashPolicy":               "source_ip filter_state",
		"envoy.type.v3.HashPolicy.SourceIp":      "",
		"envoy.type.v3.HashPolicy.FilterState":   "key",
		"envoy.type.v3.Percent":                  "value",
		// Both speak of tracing only, of which there is none.
		"envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig":                        "pack_trace_reason use_request_id_for_trace_sampling",
		"envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension": "typed_config",
	}
}
