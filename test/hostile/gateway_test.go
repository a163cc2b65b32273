package hostile

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/test/peer"
	"culvert/test/program"
	"culvert/test/topology"

	"golang.org/x/net/http2"
)

// Addresses, all on the loopback of one host.
const (
	gatewayAddress = "127.0.0.1:8080" // HTTP/2 without TLS
	originAddress  = "127.0.0.1:9000" // HTTP/1.1
	hostileAddress = "127.0.0.1:9001" // HTTP/2, an attacker
	echoAddress    = "127.0.0.1:9002" // for tunnels
	bystanderEcho  = "127.0.0.1:9003" // for that of the bystander
)

// Paths of the origin, and of a route.
const (
	pathHold    = "/hold" // is never answered
	pathEndless = "/big"  // is answered without end
	pathHostile = "/hostile"
)

// ordinaryPage is the size of an ordinary answer, about what the web is made of;
// bytes.
const ordinaryPage = 32 << 10

// headTimeout is the gateway's request_headers_timeout.
const headTimeout = "0.2s"

const gatewayConfig = `
admin:
  address: {pipe: {path: "{{dir}}/gateway.sock"}}
static_resources:
  listeners:
  - name: gateway
    address: {socket_address: {address: 127.0.0.1, port_value: 8080}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          codec_type: HTTP2
          request_headers_timeout: ` + headTimeout + `
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          upgrade_configs: [{upgrade_type: CONNECT}]
          route_config:
            virtual_hosts:
            - name: any
              domains: ["*"]
              routes:
              - match: {connect_matcher: {}}
                route:
                  cluster: destination
                  upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]
              - match: {prefix: "/hostile"}
                route: {cluster: hostile, timeout: 0s}
              - match: {prefix: "/"}
                route: {cluster: origin, timeout: 0s}
  clusters:
  - name: destination
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    original_dst_lb_config: {use_http_header: true, http_header_name: ":authority"}
  - name: origin
    type: STATIC
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 9000}}}
  - name: hostile
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: hostile
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 9001}}}
`

// gateway is a culvert and what is around it, on one host.
type gateway struct {
	*program.Culvert
	process
	t    testing.TB
	host *topology.Host
}

// newHost is the host of a test, with the origins.
func newHost(t testing.TB) *topology.Host {
	t.Helper()
	h := topology.New(t).Host("box")
	limitSockets(t, h)
	serveOrigin(t, h.Listen("tcp", originAddress))
	peer.Serve(t, h.Listen("tcp", echoAddress), peer.Echo())
	return h
}

// limitSockets bounds what the kernel holds for flows that are stuck, so that a
// thousand of them cost it little time and memory: those are its affair.
func limitSockets(t testing.TB, h *topology.Host) {
	t.Helper()
	for _, key := range []string{"ipv4/tcp_rmem", "ipv4/tcp_wmem"} {
		if err := h.Sysctl(key, "4096 65536 131072"); err != nil {
			t.Fatal(err)
		}
	}
}

// startGateway starts a culvert that nobody has used yet.
func startGateway(t testing.TB, h *topology.Host) *gateway {
	t.Helper()
	dir := t.TempDir()
	c := program.StartCulvert(t, program.Spec{
		Host: h, Binary: binary, Dir: dir, Name: "gateway", Config: strings.ReplaceAll(gatewayConfig, "{{dir}}", dir),
	})
	return &gateway{Culvert: c, process: process{t, c.Cmd.Process.Pid}, t: t, host: h}
}

// dial is a connection to the gateway.
func (g *gateway) dial(ctx context.Context) (net.Conn, error) {
	return g.host.DialContext(ctx, "tcp", gatewayAddress)
}

// serveOrigin serves ordinary requests until the test ends.
func serveOrigin(t testing.TB, ln net.Listener) {
	page := make([]byte, ordinaryPage)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) })
	mux.HandleFunc(pathHold, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc(pathEndless, func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 32<<10)
		for {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(ln) }) // ends with Close
	t.Cleanup(func() {
		_ = srv.Close()
		wg.Wait()
	})
}

// readPreface takes what a client says before its first frame.
func readPreface(t testing.TB, nc net.Conn) {
	t.Helper()
	p := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(nc, p); err != nil || string(p) != http2.ClientPreface {
		t.Fatalf("preface %q, %v", p, err)
	}
}
