package subject

// nearConfig is filled by a nearEnd.
const nearConfig = `
bootstrap_extensions:
- name: envoy.bootstrap.internal_listener
  typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}
{{- if .TUN}}
- name: culvert.tun
  typed_config:
    "@type": type.googleapis.com/culvert.v1.Tun
    name: {{.TUNName}}
    addresses: [198.18.0.1/32]
    routes: [203.0.113.0/24]
    tcp_listener: front
{{- end}}
static_resources:
  listeners:
  - name: front
{{- if .TUN}}
    internal_listener: {}
{{- else}}
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Front}}}}
{{- end}}
    filter_chains:
{{- if .Log}}
    - filter_chain_match: {destination_port: 443}
      filters: [&elsewhere {name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: elsewhere, cluster: far}}]
    - filter_chain_match: {prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}, {address_prefix: 192.168.0.0, prefix_len: 16}]}
      filters: [*elsewhere]
    - filter_chain_match: {source_prefix_ranges: [{address_prefix: 203.0.113.0, prefix_len: 24}]}
      filters: [*elsewhere]
    - filter_chain_match: {prefix_ranges: [{address_prefix: 127.0.0.0, prefix_len: 8}]}
      filters:
{{- else}}
    - filters:
{{- end}}
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: front
          cluster: far
{{- if .Log}}
          access_log:
          - name: envoy.access_loggers.file
            typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: {{.Log}}}
{{- end}}
{{- with .Tunnel}}
          tunneling_config: {hostname: "origin.bench.test:80", use_post: {{.Post}}}
{{- end}}
  clusters:
  - name: far
    load_assignment:
      cluster_name: far
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: {{.To}}, port_value: {{.Port}}}}}}]}]
{{- with .Tunnel}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{if .HTTP2}}{http2_protocol_options: {}}{{else}}{http_protocol_options: {}}{{end}}
{{- if .TLS}}
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: {{$.Name}}
        common_tls_context:
          validation_context: {trusted_ca: {filename: DIR/ca.pem}}
{{- end}}
{{- end}}
`

// gatewayConfig is of where tunnels come out.
const gatewayConfig = `
static_resources:
  listeners:
  - name: gateway
    address: {socket_address: {address: {{.At}}, port_value: {{.Port}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          http2_protocol_options: {allow_connect: true}
          upgrade_configs: [{upgrade_type: CONNECT}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{if .Mode.Post}}{prefix: "/"}{{else}}{connect_matcher: {}}{{end}}
                route:
                  cluster: origin
                  upgrade_configs: [{upgrade_type: CONNECT, connect_config: {allow_post: {{.Mode.Post}}}}]
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
{{- if .Mode.TLS}}
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [{{if .Mode.HTTP2}}h2{{else}}http/1.1{{end}}]
            tls_certificates: [{certificate_chain: {filename: {{.Dir}}/gateway.pem}, private_key: {filename: {{.Dir}}/gateway.key}}]
{{- end}}
  clusters:
  - name: origin
    load_assignment:
      cluster_name: origin
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: {{.Origin}}, port_value: {{.OriginPort}}}}}}]}]
`
