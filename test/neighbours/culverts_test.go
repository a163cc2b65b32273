package neighbours

import (
	"strings"
	"text/template"

	"culvert/test/program"
)

// hop is the connection of a culvert to what comes next.
type hop struct {
	To            string // address; a port of the street if empty
	Port          string
	HTTP2         bool
	TLS           bool   // to neighbour.test or exit.test, by Name
	Name          string // that the certificate must have
	ProxyProtocol string // V1, V2 or none
}

// entry puts TCP into tunnels.
type entry struct {
	Next   hop
	Post   bool
	Header string // name: value, for the request
	Netns  string // where it captures what is sent; the tunnels go where that goes
}

// exit takes TCP out of tunnels, or passes CONNECT on.
type exit struct {
	TLS           bool
	ClientCerts   bool // are demanded
	ProxyProtocol bool // is demanded
	Post          bool // and not CONNECT, to destination
	Next          *hop // CONNECT is passed on to it
}

func (s *street) startEntry(e entry) *program.Culvert {
	s.t.Helper()
	return s.start("entry", s.render("entry", e))
}

func (s *street) startExit(e exit) *program.Culvert {
	s.t.Helper()
	return s.start("exit", s.render("exit", e))
}

// toNeighbour and toExit are hops.
func toNeighbour(h hop) hop { h.Port, h.Name = neighbourPort, "neighbour.test"; return h }
func toExit(h hop) hop      { h.Port, h.Name = exitPort, "exit.test"; return h }

func (s *street) render(name string, data any) string {
	s.t.Helper()
	split := func(header string) []string { return strings.SplitN(header, ": ", 2) }
	parsed, err := template.New("").Funcs(template.FuncMap{"split": split}).Parse(templates)
	if err != nil {
		s.t.Fatal(err)
	}
	var b strings.Builder
	if err := parsed.ExecuteTemplate(&b, name, data); err != nil {
		s.t.Fatal(err)
	}
	return strings.ReplaceAll(b.String(), "DIR", s.dir)
}

const templates = `
{{define "log"}}
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: "DIR/{{.}}.log"
              log_format:
                text_format_source:
                  inline_string: "%PROTOCOL% %REQ(:METHOD)% %REQ(:AUTHORITY)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% from %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%, %BYTES_RECEIVED%/%BYTES_SENT%\n"
{{- end}}

{{define "entry"}}
admin:
  address: {pipe: {path: "DIR/entry.sock"}}
{{- if .Netns}}
bootstrap_extensions:
- name: culvert.tun
  typed_config:
    "@type": type.googleapis.com/culvert.v1.Tun
    name: culvert0
    netns: "{{.Netns}}"
    addresses: [198.18.0.1/32]
    routes: [0.0.0.0/0]
    tcp_listener: entry
- name: envoy.bootstrap.internal_listener
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener
{{- end}}
static_resources:
  listeners:
  - name: entry
    {{- if .Netns}}
    internal_listener: {}
    {{- else}}
    address: {socket_address: {address: ` + streetAddress + `, port_value: ` + entryPort + `}}
    {{- end}}
    filter_chains:
    - filters:
      - name: tunnel
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tunnel
          cluster: next
          max_connect_attempts: 1
          {{- template "log" "entry"}}
          tunneling_config:
            hostname: "{{if .Netns}}%FILTER_STATE(culvert.destination:PLAIN)%{{else}}` + destination + `{{end}}"
            use_post: {{.Post}}
            {{- with .Header}}
            headers_to_add: [{header: {key: "{{index (split .) 0}}", value: "{{index (split .) 1}}"}}]
            {{- end}}
  clusters:
  {{- template "next" .Next}}
{{end}}

{{define "next"}}
  - name: next
    type: STATIC
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { {{- if .HTTP2}}http2_protocol_options{{else}}http_protocol_options{{end}}: {}}
    {{- if .ProxyProtocol}}
    transport_socket:
      name: proxy_protocol
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport
        config: {version: {{.ProxyProtocol}}}
        transport_socket: {{template "socket" .}}
    {{- else}}
    transport_socket: {{template "socket" .}}
    {{- end}}
    load_assignment:
      cluster_name: next
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: {{or .To "` + streetAddress + `"}}, port_value: {{.Port}}}}}
{{- end}}

{{define "socket"}}
  {{- if .TLS -}}
  {name: tls, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext,
      sni: {{.Name}}, common_tls_context: {alpn_protocols: [{{if .HTTP2}}h2{{else}}http/1.1{{end}}],
      validation_context: {trusted_ca: {filename: "DIR/ca.pem"}}}}}
  {{- else -}}
  {name: raw, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}
  {{- end}}
{{- end}}

{{define "exit"}}
admin:
  address: {pipe: {path: "DIR/exit.sock"}}
static_resources:
  listeners:
  - name: exit
    address: {socket_address: {address: ` + streetAddress + `, port_value: ` + exitPort + `}}
    {{- if .ProxyProtocol}}
    listener_filters:
    - name: proxy_protocol
      typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol}
    {{- end}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: exit
          {{- template "log" "exit"}}
          http2_protocol_options: {allow_connect: true}
          upgrade_configs: [{upgrade_type: CONNECT}]
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            name: tunnels
            virtual_hosts:
            - name: any
              domains: ["*"]
              routes:
              {{- if .Post}}
              - match: {prefix: "/", headers: [{name: ":method", string_match: {exact: POST}}]}
                route:
                  cluster: origin
                  upgrade_configs: [{upgrade_type: CONNECT, connect_config: {allow_post: true}}]
              {{- else if .Next}}
              - match: {connect_matcher: {}}
                route: {cluster: next, upgrade_configs: [{upgrade_type: CONNECT}]}
              {{- else}}
              - match: {connect_matcher: {}}
                route: {cluster: asked_for, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}
              {{- end}}
      {{- if .TLS}}
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: {{.ClientCerts}}
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - {certificate_chain: {filename: "DIR/exit.pem"}, private_key: {filename: "DIR/exit.key"}}
            {{- if .ClientCerts}}
            validation_context: {trusted_ca: {filename: "DIR/ca.pem"}}
            {{- end}}
      {{- end}}
  clusters:
  - name: asked_for
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 5s
    original_dst_lb_config: {use_http_header: true, http_header_name: ":authority"}
    typed_extension_protocol_options:
      culvert.egress_policy:
        "@type": type.googleapis.com/culvert.v1.EgressPolicy
        allow_private: true
  - name: origin
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: ` + originAddress + `, port_value: ` + originPort + `}}}
  {{- with .Next}}
  {{- template "next" .}}
  {{- end}}
{{end}}
`
