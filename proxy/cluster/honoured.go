package cluster

import (
	"culvert/configs/field"

	rawbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	"google.golang.org/protobuf/proto"
)

// Honoured declares the fields this package reads; what a transport_socket
// holds is the transport's to declare.
func Honoured() field.Honoured {
	return field.Honoured{
		"envoy.config.cluster.v3.Cluster": "name type connect_timeout lb_policy load_assignment circuit_breakers " +
			"common_http_protocol_options http2_protocol_options typed_extension_protocol_options " +
			"dns_lookup_family original_dst_lb_config transport_socket",
		"envoy.config.cluster.v3.Cluster.OriginalDstLbConfig": "use_http_header http_header_name upstream_port_override",
		"envoy.config.cluster.v3.CircuitBreakers":             "thresholds",
		"envoy.config.cluster.v3.CircuitBreakers.Thresholds":  "priority max_connections max_pending_requests max_requests",

		"envoy.config.endpoint.v3.ClusterLoadAssignment": "cluster_name endpoints",
		"envoy.config.endpoint.v3.LocalityLbEndpoints":   "lb_endpoints locality",
		"envoy.config.endpoint.v3.LbEndpoint":            "endpoint",
		"envoy.config.endpoint.v3.Endpoint":              "address hostname",
		"envoy.config.core.v3.Locality":                  "region zone sub_zone",
		"envoy.config.core.v3.Address":                   "socket_address pipe envoy_internal_address",
		"envoy.config.core.v3.SocketAddress":             "protocol address port_value",
		"envoy.config.core.v3.Pipe":                      "path",
		"envoy.config.core.v3.EnvoyInternalAddress":      "server_listener_name endpoint_id",
		"envoy.config.core.v3.TransportSocket":           "name typed_config",

		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":                    "common_http_protocol_options explicit_http_config",
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig": "http2_protocol_options",
		"envoy.config.core.v3.HttpProtocolOptions":                                  "idle_timeout max_headers_count max_response_headers_kb",
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

// rawBuffer is the transport that adds nothing.
func rawBuffer() proto.Message { return &rawbufferv3.RawBuffer{} }
