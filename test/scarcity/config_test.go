package scarcity

import (
	"strings"
	"text/template"
)

// settings are what tests vary of the two configurations.
type settings struct {
	Dir    string // of logs and sockets
	Netns  string // where the TUN is
	Direct bool   // the capture reaches origins itself
	Extra  string // more of the bootstrap
}

func (s settings) capture() string { return render(captureTemplate, s) }
func (s settings) gateway() string { return render(gatewayTemplate, s) }

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
{{.Extra}}
bootstrap_extensions:
- name: culvert.tun
  typed_config:
    "@type": type.googleapis.com/culvert.v1.Tun
    name: culvert0
    netns: "{{.Netns}}"
    addresses: [198.18.0.1/32]
    routes: [0.0.0.0/0]
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
          {{- if not .Direct}}
          tunneling_config:
            hostname: "%FILTER_STATE(culvert.destination:PLAIN)%"
          {{- end}}
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: "{{.Dir}}/capture.log"
  clusters:
  {{- if .Direct}}
  - name: gateway
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 5s
  {{- else}}
  - name: gateway
    type: STATIC
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: gateway
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8443}}}
  {{- end}}
`

const gatewayTemplate = `
admin:
  address: {pipe: {path: "{{.Dir}}/gateway.sock"}}
{{.Extra}}
static_resources:
  listeners:
  - name: gateway
    address: {socket_address: {address: 127.0.0.1, port_value: 8443}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          codec_type: AUTO
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: "{{.Dir}}/gateway.log"
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
    connect_timeout: 5s
    original_dst_lb_config: {use_http_header: true, http_header_name: ":authority"}
    typed_extension_protocol_options:
      culvert.egress_policy:
        "@type": type.googleapis.com/culvert.v1.EgressPolicy
        allow_private: true
`
