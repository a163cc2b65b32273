package e2e

import (
	"strings"
	"text/template"
)

// captureConfig is what tests vary of the capturing end.
type captureConfig struct {
	Dir     string // of certificates, logs and sockets
	Netns   string // where the TUN is; empty: where culvert is
	Table   int    // routing table, with Mark
	Mark    int
	Gateway string // address of the gateway
	Log     string // file name of the access log, in Dir
}

// gatewayConfig is what tests vary of the terminating end.
type gatewayConfig struct {
	Dir string
	Log string
}

func (c captureConfig) yaml() string { return render(captureTemplate, c) }
func (c gatewayConfig) yaml() string { return render(gatewayTemplate, c) }

func render(text string, data any) string {
	var b strings.Builder
	if err := template.Must(template.New("").Parse(text)).Execute(&b, data); err != nil {
		panic(err) // a template of this file with a struct of this file
	}
	return b.String()
}

const captureTemplate = `
admin:
  address: {pipe: {path: "{{.Dir}}/capture.sock"}}
bootstrap_extensions:
- name: culvert.tun
  typed_config:
    "@type": type.googleapis.com/culvert.v1.Tun
    name: culvert0
    {{- if .Netns}}
    netns: "{{.Netns}}"
    {{- end}}
    {{- if .Table}}
    table: {{.Table}}
    mark: {{.Mark}}
    {{- end}}
    addresses: [198.18.0.1/32, "fd00:198:18::1/128"]
    routes: [0.0.0.0/0, "::/0"]
    tcp_listener: capture
- name: envoy.bootstrap.internal_listener
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener
static_resources:
  listeners:
  - name: capture
    internal_listener: {}
    filter_chains:
    - filters:
      - name: tunnel
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tunnel
          cluster: gateway
          tunneling_config:
            hostname: "%FILTER_STATE(culvert.destination:PLAIN)%"
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: "{{.Dir}}/{{.Log}}"
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
        sni: gateway.test
        common_tls_context:
          alpn_protocols: [h2]
          tls_certificates:
          - certificate_chain: {filename: "{{.Dir}}/client.pem"}
            private_key: {filename: "{{.Dir}}/client.key"}
          validation_context: {trusted_ca: {filename: "{{.Dir}}/ca.pem"}}
    load_assignment:
      cluster_name: gateway
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: {{.Gateway}}, port_value: 443}}}
`

const gatewayTemplate = `
admin:
  address: {pipe: {path: "{{.Dir}}/gateway.sock"}}
static_resources:
  listeners:
  - name: gateway
    address: {socket_address: {address: 0.0.0.0, port_value: 443}}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            alpn_protocols: [h2]
            tls_certificates:
            - certificate_chain: {filename: "{{.Dir}}/gateway.pem"}
              private_key: {filename: "{{.Dir}}/gateway.key"}
            validation_context: {trusted_ca: {filename: "{{.Dir}}/ca.pem"}}
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
              path: "{{.Dir}}/{{.Log}}"
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
    connect_timeout: 30s
    original_dst_lb_config: {use_http_header: true, http_header_name: ":authority"}
    typed_extension_protocol_options:
      culvert.egress_policy:
        "@type": type.googleapis.com/culvert.v1.EgressPolicy
        allow_private: true
`
