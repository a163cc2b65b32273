package tcpproxy

import "culvert/configs/field"

// Honoured declares the fields this package reads.
func Honoured() field.Honoured {
	const pkg = "envoy.extensions.filters.network.tcp_proxy.v3."
	return field.Honoured{
		pkg + "TcpProxy": "stat_prefix cluster weighted_clusters tunneling_config idle_timeout access_log max_connect_attempts " +
			"backoff_options max_downstream_connection_duration max_downstream_connection_duration_jitter_percentage " +
			"access_log_options access_log_flush_interval flush_access_log_on_connected upstream_connect_mode max_early_data_bytes",
		pkg + "TcpProxy.WeightedCluster":               "clusters",
		pkg + "TcpProxy.WeightedCluster.ClusterWeight": "name weight",
		pkg + "TcpProxy.TunnelingConfig":               "hostname headers_to_add",
		pkg + "TcpProxy.TcpAccessLogOptions":           "access_log_flush_interval flush_access_log_on_connected flush_access_log_on_start",
		"envoy.config.core.v3.BackoffStrategy":         "base_interval max_interval",
		"envoy.config.core.v3.HeaderValueOption":       "header append append_action keep_empty_value",
		"envoy.config.core.v3.HeaderValue":             "key value raw_value",
		"envoy.type.v3.Percent":                        "value",
	}
}
