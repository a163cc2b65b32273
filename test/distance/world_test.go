package distance

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/test/impair"
	"culvert/test/need"
	"culvert/test/peer"
	"culvert/test/program"
	"culvert/test/topology"
)

const (
	nearAddress    = "198.51.100.1"
	gatewayAddress = "198.51.100.2"
	tunnelled      = "127.0.0.1:8000" // near's, to the origin
	originPort     = "9000"
)

// farLink is a path over an ocean.
var farLink = impair.Link{Delay: 25 * time.Millisecond, Loss: 0.01, Seed: 4}

// world is two hosts, each with its culvert, and an origin beside the gateway's.
type world struct {
	near    *topology.Host
	culvert *program.Culvert // near
	origin  *origin
}

func newWorld(t *testing.T) *world {
	t.Helper()
	need.Root(t)
	need.TUN(t)
	top := topology.New(t)
	near, gateway := top.Host("near"), top.Host("gateway")
	for _, h := range []*topology.Host{near, gateway} {
		if err := h.Namespace.Sysctl("ipv4/tcp_congestion_control", "reno"); err != nil {
			t.Fatal(err)
		}
	}
	connect(t, near, gateway)
	dir := t.TempDir()
	ca := peer.NewCA(t)
	crt, key := ca.IssuePEM("gateway.test")
	for name, text := range map[string][]byte{"ca.pem": ca.PEM, "gateway.pem": crt, "gateway.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := func(h *topology.Host, config string) *program.Culvert {
		return program.StartCulvert(t, program.Spec{
			Host: h, Binary: executable, Dir: dir, Name: h.Name(),
			Config: strings.ReplaceAll(config, "DIR", dir),
		})
	}
	w := &world{near: near, origin: newOrigin(t, gateway.Listen("tcp", net.JoinHostPort("0.0.0.0", originPort)))}
	start(gateway, gatewayConfig)
	w.culvert = start(near, nearConfig)
	return w
}

func connect(t *testing.T, near, gateway *topology.Host) {
	t.Helper()
	end := func(h *topology.Host, to, address string) impair.End {
		return impair.End{Namespace: h.Namespace, Interface: to, Addresses: []netip.Prefix{netip.MustParsePrefix(address + "/24")}}
	}
	link, err := impair.Connect(end(near, "gateway", nearAddress), end(gateway, "near", gatewayAddress), farLink)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := link.Close(); err != nil {
			t.Error(err)
		}
	})
}

// awaitConnections waits until so many lead to the gateway.
func (w *world) awaitConnections(t *testing.T, n int64, within time.Duration) {
	t.Helper()
	program.Eventually(t, within, fmt.Sprintf("%d connections to the gateway", n), func() error {
		if got := w.culvert.Stat("cluster.gateway.upstream_cx_active"); got != n {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
}

const nearConfig = `
admin:
  address: {pipe: {path: "DIR/near.sock"}}
static_resources:
  listeners:
  - name: tunnelled
    address: {socket_address: {address: 127.0.0.1, port_value: 8000}}
    filter_chains:
    - filters:
      - name: tunnel
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tunnel
          cluster: gateway
          tunneling_config: {hostname: "origin.test:9000"}
  clusters:
  - name: gateway
    connect_timeout: 15s
    load_assignment:
      cluster_name: gateway
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 198.51.100.2, port_value: 7000}}}}]}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: gateway.test
        common_tls_context:
          validation_context: {trusted_ca: {filename: "DIR/ca.pem"}}
`

const gatewayConfig = `
admin:
  address: {pipe: {path: "DIR/gateway.sock"}}
static_resources:
  listeners:
  - name: tunnels
    address: {socket_address: {address: 198.51.100.2, port_value: 7000}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: tunnels
          http2_protocol_options: {allow_connect: true}
          upgrade_configs: [{upgrade_type: CONNECT}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {connect_matcher: {}}
                route: {cluster: origin, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2]
            tls_certificates: [{certificate_chain: {filename: "DIR/gateway.pem"}, private_key: {filename: "DIR/gateway.key"}}]
  clusters:
  - name: origin
    load_assignment:
      cluster_name: origin
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 9000}}}}]}]
`
