package cycles

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"culvert/proxy/codec"
	"culvert/test/peer"
	"culvert/test/ports"
	"culvert/test/topology"
	"culvert/tunnel"
)

const (
	// name is what the gateway's certificate is for.
	name = "gateway.test"
	// loopback is an address that no connection comes from, so that no port of
	// it is taken by one.
	loopback = "127.77.0.1"
)

// way is a tunnel of one mode, both ends in the same appliance:
//
//	application -> :front tcp_proxy ==mode==> :gateway -> internal listener -> origin
type way struct {
	Mode           tunnel.Mode
	Front, Gateway int // ports

	captured *topology.Host // where its applications are; nil: here
}

func (w way) Name() string { return strings.ToLower(w.Mode.String()) }
func (w way) HTTP2() bool  { return w.Mode.Proto == codec.HTTP2 }
func (w way) Post() bool   { return w.Mode.Method == tunnel.MethodPost }
func (w way) Secure() bool { return w.Mode.Secure }

// dial is how an application connects.
func (w way) dial() (c net.Conn, err error) {
	if w.captured != nil {
		c, err = w.captured.Dial("tcp", "203.0.113.1:80") // any address: the TUN takes all
	} else {
		c, err = net.Dial("tcp", net.JoinHostPort(loopback, fmt.Sprint(w.Front)))
	}
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(patience))
}

// String names it in a complaint.
func (w way) String() string {
	if w.captured != nil {
		return "captured, " + w.Mode.String()
	}
	return w.Mode.String()
}

// world is an appliance's configuration with a way of each mode.
type world struct {
	Ways                []way
	Loopback, Origin    string // address and port
	Admin, CA, Crt, Key string // paths
	ServerName          string
	Netns               string // of the captured applications; empty: none
	Captured            way
	config              string
}

// newWorld picks ports and renders the configuration. Where there is an app, a
// TUN in it captures what it says.
func newWorld(t *testing.T, dir, origin string, app *topology.Host) *world {
	t.Helper()
	w := &world{
		Loopback: loopback, Origin: origin, ServerName: name, Admin: filepath.Join(dir, "admin.sock"),
		CA: filepath.Join(dir, "ca.pem"), Crt: filepath.Join(dir, "gw.pem"), Key: filepath.Join(dir, "gw.key"),
	}
	modes := tunnel.Modes()
	p := ports.Free(t, 2*len(modes))
	for i, m := range modes {
		w.Ways = append(w.Ways, way{Mode: m, Front: p[2*i], Gateway: p[2*i+1]})
	}
	if app != nil {
		w.Netns = app.Path()
		for _, by := range w.Ways {
			if by.Mode == (tunnel.Mode{Proto: codec.HTTP2, Method: tunnel.MethodConnect, Secure: true}) {
				w.Captured = by
			}
		}
	}
	var b strings.Builder
	if err := config.Execute(&b, w); err != nil {
		t.Fatal(err)
	}
	w.config = b.String()
	if app != nil {
		w.Captured.captured = app
		w.Ways = append(w.Ways, w.Captured)
	}
	return w
}

// writeCertificates puts the files that a world names into dir.
func writeCertificates(t *testing.T, dir string) {
	t.Helper()
	ca := peer.NewCA(t)
	crt, key := ca.IssuePEM(name)
	for file, text := range map[string][]byte{"ca.pem": ca.PEM, "gw.pem": crt, "gw.key": key} {
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

var config = template.Must(template.New("").Parse(`
admin:
  address: {pipe: {path: "{{.Admin}}"}}
bootstrap_extensions:
- name: envoy.bootstrap.internal_listener
  typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}
{{- if .Netns}}
- name: culvert.tun
  typed_config:
    "@type": type.googleapis.com/culvert.v1.Tun
    name: culvert0
    netns: {{.Netns}}
    addresses: [198.18.0.1/32]
    routes: [0.0.0.0/0]
    tcp_listener: capture
{{- end}}
static_resources:
  listeners:
{{- if .Netns}}
  - name: capture
    internal_listener: {}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: capture
          cluster: gateway_{{.Captured.Name}}
          tunneling_config: {hostname: "%FILTER_STATE(culvert.destination:PLAIN)%"}
{{- end}}
  - name: inside
    internal_listener: {}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: inside
          cluster: origin
{{- range .Ways}}
  - name: front_{{.Name}}
    address: {socket_address: {address: {{$.Loopback}}, port_value: {{.Front}}}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: front_{{.Name}}
          cluster: gateway_{{.Name}}
          tunneling_config: {hostname: "origin.test:80", use_post: {{.Post}}}
  - name: gateway_{{.Name}}
    address: {socket_address: {address: {{$.Loopback}}, port_value: {{.Gateway}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway_{{.Name}}
          http2_protocol_options: {allow_connect: true}
          upgrade_configs: [{upgrade_type: CONNECT}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{if .Post}}{prefix: "/"}{{else}}{connect_matcher: {}}{{end}}
                route:
                  cluster: inside
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
            tls_certificates: [{certificate_chain: {filename: "{{$.Crt}}"}, private_key: {filename: "{{$.Key}}"}}]
{{- end}}
{{- end}}
  clusters:
  - name: inside
    load_assignment:
      cluster_name: inside
      endpoints: [{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {server_listener_name: inside}}}}]}]
  - name: origin
    load_assignment:
      cluster_name: origin
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: {{.Loopback}}, port_value: {{.Origin}}}}}}]}]
{{- range .Ways}}
  - name: gateway_{{.Name}}
    load_assignment:
      cluster_name: gateway_{{.Name}}
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: {{$.Loopback}}, port_value: {{.Gateway}}}}}}]}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{if .HTTP2}}{http2_protocol_options: {}}{{else}}{http_protocol_options: {}}{{end}}
{{- if .Secure}}
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: {{$.ServerName}}
        common_tls_context:
          validation_context: {trusted_ca: {filename: "{{$.CA}}"}}
{{- end}}
{{- end}}
`))
