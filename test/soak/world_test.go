package soak

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"culvert/test/need"
	"culvert/test/peer"
	"culvert/test/program"
	"culvert/test/topology"
)

const (
	gatewayAddress = "192.0.2.2"
	originAddress  = "10.2.0.2"
)

// Ports of the origin.
const (
	downPort = "8001" // sends as fast as it can
	upPort   = "8002" // receives
	micePort = "8003" // answers a request
	idlePort = "8004" // echoes
)

// world is the hosts and the two culverts.
type world struct {
	app, origin   *topology.Host
	near, gateway *program.Culvert
}

func newWorld(t *testing.T) *world {
	t.Helper()
	need.Root(t)
	need.TUN(t)
	top := topology.New(t)
	app, near, gateway, origin := top.Host("app"), top.Host("near"), top.Host("gateway"), top.Host("origin")
	top.Link(near, gateway, "192.0.2.1/24", gatewayAddress+"/24")
	top.Link(gateway, origin, "10.2.0.1/24", originAddress+"/24")
	dir := t.TempDir()
	ca := peer.NewCA(t)
	crt, key := ca.IssuePEM("gateway.test")
	for name, text := range map[string][]byte{"ca.pem": ca.PEM, "gateway.pem": crt, "gateway.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{app: app, origin: origin}
	w.gateway = program.StartCulvert(t, program.Spec{
		Host: gateway, Binary: executable, Dir: dir, Name: "gateway", Config: fmt.Sprintf(gatewayConfig, dir)})
	w.near = program.StartCulvert(t, program.Spec{
		Host: near, Binary: executable, Dir: dir, Name: "near", Config: fmt.Sprintf(nearConfig, dir, app.Path())})
	return w
}

// listen is on a port of the origin.
func (w *world) listen(port string) net.Listener {
	return w.origin.Listen("tcp", net.JoinHostPort(originAddress, port))
}

// processes are the two, by name.
func (w *world) processes() []*program.Culvert { return []*program.Culvert{w.near, w.gateway} }

const nearConfig = `
admin:
  address: {pipe: {path: "%[1]s/near.sock"}}
bootstrap_extensions:
- name: culvert.tun
  typed_config:
    "@type": type.googleapis.com/culvert.v1.Tun
    name: culvert0
    netns: "%[2]s"
    addresses: [198.18.0.1/32]
    routes: [0.0.0.0/0]
    tcp_listener: capture
- name: envoy.bootstrap.internal_listener
  typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}
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
          tunneling_config: {hostname: "%%FILTER_STATE(culvert.destination:PLAIN)%%"}
  clusters:
  - name: gateway
    load_assignment:
      cluster_name: gateway
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 192.0.2.2, port_value: 443}}}}]}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: gateway.test
        common_tls_context: {validation_context: {trusted_ca: {filename: "%[1]s/ca.pem"}}}
`

const gatewayConfig = `
admin:
  address: {pipe: {path: "%[1]s/gateway.sock"}}
static_resources:
  listeners:
  - name: gateway
    address: {socket_address: {address: 192.0.2.2, port_value: 443}}
    filter_chains:
    - transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2]
            tls_certificates: [{certificate_chain: {filename: "%[1]s/gateway.pem"}, private_key: {filename: "%[1]s/gateway.key"}}]
      filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          codec_type: HTTP2
          upgrade_configs: [{upgrade_type: CONNECT}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {connect_matcher: {}}
                route:
                  cluster: destination
                  upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: destination
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    original_dst_lb_config: {use_http_header: true, http_header_name: ":authority"}
    typed_extension_protocol_options:
      culvert.egress_policy:
        "@type": type.googleapis.com/culvert.v1.EgressPolicy
        allow_private: true
`
