package demo

import (
	"fmt"
	"path/filepath"
)

// Addresses of the world, from the ranges kept for documentation (RFC 5737,
// RFC 3849) and benchmarking (RFC 2544): none of them is anybody's.
const (
	tunAddress4 = "198.18.0.1/32"
	tunAddress6 = "fd00:198:18::1/128"

	clientAddress  = "192.0.2.1"
	gatewayAddress = "192.0.2.2"
	gatewayPort    = 443

	uplinkAddress4 = "198.51.100.1"
	uplinkAddress6 = "2001:db8:51::1"
	originAddress4 = "198.51.100.10"
	originAddress6 = "2001:db8:51::10"
	originPort     = 80
	closedPort     = 81

	unreachableAddress = "192.88.99.1"     // the gateway has no route to it
	filteredAddress    = "203.0.113.1"     // routed to a host that drops it in silence
	prohibitedAddress  = "169.254.169.254" // the gateway's egress policy refuses it
)

// gatewayName is the name in the gateway's certificate.
const gatewayName = "gateway.demo.test"

// captureConfig is the configuration of the capturing culvert; its device is in
// the application's namespace.
func captureConfig(w *world, netns string) string {
	return fmt.Sprintf(`# app -> TUN -> this culvert -> CONNECT over HTTP/2 over TLS -> gateway
admin:
  address: {pipe: {path: %[1]q}}
bootstrap_extensions:
- name: culvert.tun
  typed_config:
    "@type": type.googleapis.com/culvert.v1.Tun
    name: culvert0
    netns: %[2]q
    addresses: [%[3]q, %[4]q]
    routes: ["0.0.0.0/0", "::/0"]
    tcp_listener: capture
- name: envoy.bootstrap.internal_listener
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener
static_resources:
  listeners:
  - name: capture
    internal_listener: {}
    filter_chains:
    - name: everything
      filters:
      - name: tunnel
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tunnel
          cluster: gateway
          tunneling_config:
            hostname: "%%FILTER_STATE(culvert.destination:PLAIN)%%"
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: %[5]q
              log_format:
                text_format_source:
                  inline_string: "[%%START_TIME%%] %%DOWNSTREAM_REMOTE_ADDRESS%% -> %%DOWNSTREAM_LOCAL_ADDRESS%% via %%UPSTREAM_HOST%% flags=%%RESPONSE_FLAGS%% in=%%BYTES_RECEIVED%% out=%%BYTES_SENT%% %%DURATION%%ms %%UPSTREAM_TRANSPORT_FAILURE_REASON%%\n"
  clusters:
  - name: gateway
    type: STATIC
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: %[6]s
        common_tls_context:
          alpn_protocols: [h2]
          tls_certificates:
          - certificate_chain: {filename: %[7]q}
            private_key: {filename: %[8]q}
          validation_context: {trusted_ca: {filename: %[9]q}}
    load_assignment:
      cluster_name: gateway
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: %[10]s, port_value: %[11]d}}}
`, w.file("capture.sock"), netns, tunAddress4, tunAddress6, w.file("capture.log"), gatewayName,
		w.file("client.pem"), w.file("client.key"), w.file("ca.pem"), gatewayAddress, gatewayPort)
}

// gatewayConfig is the configuration of the terminating culvert.
func gatewayConfig(w *world) string {
	return fmt.Sprintf(`# CONNECT over HTTP/2 over TLS -> this culvert -> the address the application asked for
admin:
  address: {pipe: {path: %[1]q}}
static_resources:
  listeners:
  - name: gateway
    address: {socket_address: {address: 0.0.0.0, port_value: %[2]d}}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            alpn_protocols: [h2]
            tls_certificates:
            - certificate_chain: {filename: %[3]q}
              private_key: {filename: %[4]q}
            validation_context: {trusted_ca: {filename: %[5]q}}
      filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          codec_type: HTTP2
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: %[6]q
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          upgrade_configs: [{upgrade_type: CONNECT}]
          route_config:
            name: tunnels
            virtual_hosts:
            - name: any
              domains: ["*"]
              routes:
              - name: connect
                match: {connect_matcher: {}}
                route:
                  cluster: destination
                  upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]
  clusters:
  - name: destination
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 20s
    original_dst_lb_config: {use_http_header: true, http_header_name: ":authority"}
    typed_extension_protocol_options:
      culvert.egress_policy: # addresses kept for documentation are private ones: allowed here, on purpose
        "@type": type.googleapis.com/culvert.v1.EgressPolicy
        allow: [{prefix: 198.51.100.0/24}, {prefix: "2001:db8:51::/64"}, {prefix: 203.0.113.0/24}]
`, w.file("gateway.sock"), gatewayPort, w.file("gateway.pem"), w.file("gateway.key"), w.file("ca.pem"), w.file("gateway.log"))
}

// file is a path in the demo's scratch directory.
func (w *world) file(name string) string { return filepath.Join(w.dir, name) }
