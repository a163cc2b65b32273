package subject

import (
	"fmt"
	"strings"

	"culvert/bench/world"
)

const (
	frontPort   = 9010 // where culvert listens for applications
	gatewayPort = 9011 // where its other end listens for tunnels
)

// mode is a way to carry a tunnel.
type mode struct {
	HTTP2, Post, TLS bool
}

func (m mode) String() string {
	name := "HTTP/1.1"
	if m.HTTP2 {
		name = "HTTP/2"
	}
	if m.Post {
		name += " POST"
	} else {
		name += " CONNECT"
	}
	if m.TLS {
		name += " over TLS"
	}
	return name
}

func modes() (all []mode) {
	for _, http2 := range []bool{false, true} {
		for _, post := range []bool{false, true} {
			for _, tls := range []bool{false, true} {
				all = append(all, mode{http2, post, tls})
			}
		}
	}
	return all
}

// Culvert is culvert in each of its shapes.
func Culvert() []Subject {
	all := []Subject{
		{Name: "culvert, tcp_proxy", Group: Relay, start: func(s *scene) (Way, error) {
			return Way{Namespace: s.Here, Address: loopback(frontPort)}, s.culvert(nearEnd{To: world.FromHere, Port: world.OriginPort})
		}},
		{Name: "culvert, TUN", Group: Capture, start: func(s *scene) (Way, error) {
			return captured(s), s.culvert(nearEnd{TUN: true, To: world.FromHere, Port: world.OriginPort})
		}},
	}
	for _, m := range modes() {
		all = append(all,
			Subject{Name: "culvert, " + m.String(), Group: Tunnel, start: func(s *scene) (Way, error) {
				return Way{Namespace: s.Here, Address: loopback(frontPort)}, s.pair(m, false)
			}},
			Subject{Name: "culvert, TUN, " + m.String(), Group: Whole, start: func(s *scene) (Way, error) {
				return captured(s), s.pair(m, true)
			}})
	}
	return all
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// captured is the way of who is bound to a TUN; what is connected to there is
// never reached but through it.
func captured(s *scene) Way {
	return Way{Namespace: s.Here, Device: tunName, Address: "203.0.113.1:80"}
}

const tunName = "bench0"

// nearEnd is the configuration of the end that applications see.
type nearEnd struct {
	TUN    bool
	Tunnel *mode // nil: none
	To     string
	Port   int
}

func (n nearEnd) Front() int      { return frontPort }
func (n nearEnd) Name() string    { return world.GatewayName }
func (n nearEnd) TUNName() string { return tunName }

// pair starts both ends of a tunnel.
func (s *scene) pair(m mode, tun bool) error {
	if err := s.gateway(m); err != nil {
		return err
	}
	return s.culvert(nearEnd{TUN: tun, Tunnel: &m, To: world.Gateway, Port: gatewayPort})
}

// gateway starts the end at which tunnels come out.
func (s *scene) gateway(m mode) error {
	path, err := s.write("gateway.yaml", gatewayConfig, map[string]any{
		"Mode": m, "At": world.Gateway, "Port": gatewayPort, "Dir": s.Dir, "Origin": world.FromGateway, "OriginPort": world.OriginPort,
	})
	if err != nil {
		return err
	}
	return s.run(s.Gateway, "gateway", "culvert", "-c", path)
}

func (s *scene) culvert(n nearEnd) error {
	path, err := s.write("culvert.yaml", strings.ReplaceAll(nearConfig, "DIR", s.Dir), n)
	if err != nil {
		return err
	}
	return s.run(s.Here, "culvert", "culvert", "-c", path)
}

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
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: front
          cluster: far
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
