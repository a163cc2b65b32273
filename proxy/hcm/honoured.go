package hcm

import (
	"culvert/configs/field"
	"culvert/proxy/accesslog"
	"culvert/proxy/route"
)

// Honoured declares the fields this package and those below it read.
func Honoured() field.Honoured {
	const hcm = "envoy.extensions.filters.network.http_connection_manager.v3."
	h := field.Honoured{
		hcm + "HttpConnectionManager": "codec_type stat_prefix route_config http_filters upgrade_configs " +
			"common_http_protocol_options http_protocol_options http2_protocol_options server_name server_header_transformation " +
			"scheme_header_transformation max_request_headers_kb stream_idle_timeout stream_flush_timeout " +
			"request_timeout request_headers_timeout access_log access_log_options " +
			"use_remote_address skip_xff_append via generate_request_id preserve_external_request_id " +
			"always_set_request_id_in_response proxy_status_config strip_any_host_port strip_matching_host_port",
		hcm + "HttpConnectionManager.UpgradeConfig":     "upgrade_type enabled filters",
		hcm + "HttpConnectionManager.ProxyStatusConfig": "remove_details literal_proxy_name",
		hcm + "HttpConnectionManager.HcmAccessLogOptions": "flush_access_log_on_new_request " +
			"flush_log_on_tunnel_successfully_established",
		hcm + "HttpFilter": "name typed_config",
		"envoy.config.core.v3.HttpProtocolOptions": "idle_timeout max_connection_duration max_headers_count " +
			"max_stream_duration",
		"envoy.config.core.v3.Http1ProtocolOptions":                                 "accept_http_10 default_host_for_http_10 header_key_format",
		"envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat":                 "proper_case_words",
		"envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords": "",
		"envoy.config.core.v3.Http2ProtocolOptions": "hpack_table_size max_concurrent_streams " +
			"initial_stream_window_size initial_connection_window_size allow_connect max_outbound_frames " +
			"max_outbound_control_frames max_consecutive_inbound_frames_with_empty_payload " +
			"max_inbound_priority_frames_per_stream max_inbound_window_update_frames_per_data_frame_sent " +
			"connection_keepalive",
		"envoy.config.core.v3.KeepaliveSettings":          "interval timeout",
		"envoy.config.core.v3.SchemeHeaderTransformation": "scheme_to_overwrite",
	}
	h.Merge(route.Honoured(), accesslog.Honoured())
	return h
}
