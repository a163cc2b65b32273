package endings

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"text/template"
	"time"

	"culvert/proxy/codec"
	"culvert/tunnel"
)

// Ports count up from these, one a mode.
const (
	gatewayPorts = 7000
	originPorts  = 8000 // where origins listen
	idlePorts    = 8100 // and where near has little patience
	refusedPorts = 8200 // nobody listens
	// near's listeners are on the same ports: who connects there comes to the
	// origin's port of that number.
)

// idleTimeout is the patience on idlePorts.
const idleTimeout = 2 * time.Second

const (
	// connectTimeout is what near takes to reach the gateway, over a bad link on a
	// slow machine; defaultTimeout what it takes when nothing is said.
	connectTimeout, defaultTimeout = 15 * time.Second, 5 * time.Second
)

// way is a mode with what the templates ask of it.
type way struct {
	tunnel.Mode
	At int // its index
}

// Name is for clusters and such.
func (w way) Name() string { return strings.ToLower(w.String()) }

// HTTP2 and the others are the mode's parts.
func (w way) HTTP2() bool { return w.Proto == codec.HTTP2 }

// Post is whether it asks with POST.
func (w way) Post() bool { return w.Method == tunnel.MethodPost }

// Gateway and the others are its ports.
func (w way) Gateway() int { return gatewayPorts + w.At }

// Origin is where its origins listen.
func (w way) Origin() int { return originPorts + w.At }

// Idle is where near has little patience.
func (w way) Idle() int { return idlePorts + w.At }

// Refused is where nobody listens.
func (w way) Refused() int { return refusedPorts + w.At }

// settings fill both templates.
type settings struct {
	Dir, Netns, Gateway, OriginAddress string
	Ways                               []way
	ConnectTimeout                     time.Duration
}

func ways() (all []way) {
	for i, m := range tunnel.Modes() {
		all = append(all, way{m, i})
	}
	return all
}

// proxy fills the template of that name.
type proxy struct {
	Way     way
	To, Dir string
	Idle    string
}

// Proxy is a tcp_proxy to a destination.
func (s settings) Proxy(w way, to string, impatient bool) proxy {
	p := proxy{Way: w, To: to, Dir: s.Dir}
	if impatient {
		p.Idle = idleTimeout.String()
	}
	return p
}

// To is a tcp_proxy to a port of the origin.
func (s settings) To(w way, port int, impatient bool) proxy {
	return s.Proxy(w, net.JoinHostPort(s.OriginAddress, fmt.Sprint(port)), impatient)
}

func render(t *testing.T, text string, s settings) string {
	t.Helper()
	var b strings.Builder
	if err := template.Must(template.New("").Parse(text)).Execute(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const nearTemplate = `
admin:
  address: {pipe: {path: "{{.Dir}}/near.sock"}}
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
  typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}
{{- define "proxy"}}
      - name: tunnel
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tunnel
          cluster: {{.Way.Name}}
          {{- if .Idle}}
          idle_timeout: {{.Idle}}
          {{- end}}
          tunneling_config: {hostname: "{{.To}}", use_post: {{.Way.Post}}}
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: "{{.Dir}}/near.log"
              log_format: {text_format_source: {inline_string: "%START_TIME% %DOWNSTREAM_REMOTE_ADDRESS% %DURATION% ms %BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_FLAGS% %CONNECTION_TERMINATION_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON% %RESPONSE_CODE_DETAILS%\n"}}
{{- end}}
static_resources:
  listeners:
  - name: capture
    internal_listener: {}
    filter_chains:
    {{- range .Ways}}
    - filter_chain_match: {destination_port: {{.Origin}}}
      filters:{{template "proxy" ($.Proxy . "%FILTER_STATE(culvert.destination:PLAIN)%" false)}}
    - filter_chain_match: {destination_port: {{.Idle}}}
      filters:{{template "proxy" ($.Proxy . "%FILTER_STATE(culvert.destination:PLAIN)%" true)}}
    - filter_chain_match: {destination_port: {{.Refused}}}
      filters:{{template "proxy" ($.Proxy . "%FILTER_STATE(culvert.destination:PLAIN)%" false)}}
    {{- end}}
  {{- range .Ways}}
  - name: origin_{{.Name}}
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Origin}}}}
    filter_chains:
    - filters:{{template "proxy" ($.To . .Origin false)}}
  - name: idle_{{.Name}}
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Idle}}}}
    filter_chains:
    - filters:{{template "proxy" ($.To . .Idle true)}}
  - name: refused_{{.Name}}
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Refused}}}}
    filter_chains:
    - filters:{{template "proxy" ($.To . .Refused false)}}
  {{- end}}
  clusters:
  {{- range .Ways}}
  - name: {{.Name}}
    connect_timeout: {{$.ConnectTimeout}}
    load_assignment:
      cluster_name: {{.Name}}
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: {{$.Gateway}}, port_value: {{.Gateway}}}}}}]}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{if .HTTP2}}{http2_protocol_options: {}}{{else}}{http_protocol_options: {}}{{end}}
    {{- if .Secure}}
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: gateway.test
        common_tls_context:
          validation_context: {trusted_ca: {filename: "{{$.Dir}}/ca.pem"}}
    {{- end}}
  {{- end}}
`

const gatewayTemplate = `
admin:
  address: {pipe: {path: "{{.Dir}}/gateway.sock"}}
static_resources:
  listeners:
  {{- range .Ways}}
  - name: {{.Name}}
    address: {socket_address: {address: {{$.Gateway}}, port_value: {{.Gateway}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {{.Name}}
          http2_protocol_options: {allow_connect: true}
          upgrade_configs: [{upgrade_type: CONNECT}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{if .Post}}{prefix: "/"}{{else}}{connect_matcher: {}}{{end}}
                route:
                  cluster: destination
                  upgrade_configs: [{upgrade_type: CONNECT, connect_config: {allow_post: {{.Post}}}}]
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
      {{- if .Secure}}
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [{{if .HTTP2}}h2{{else}}http/1.1{{end}}]
            tls_certificates: [{certificate_chain: {filename: "{{$.Dir}}/gateway.pem"}, private_key: {filename: "{{$.Dir}}/gateway.key"}}]
      {{- end}}
  {{- end}}
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
