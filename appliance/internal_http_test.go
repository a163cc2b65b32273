package appliance

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"culvert/proxy/network"
	"culvert/test/ports"

	"golang.org/x/net/http2"
)

// httpChain is HTTP whose connections go through an internal listener:
//
//	front (HCM) ─ HTTP/2 in a pipe ─▶ inner (tcp_proxy) ═ CONNECT ═▶ gateway ─▶ origin
const httpChain = `
bootstrap_extensions:
- name: envoy.bootstrap.internal_listener
  typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener, buffer_size_kb: {{.KB}}}
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Front}}}}
    filter_chains: [{filters: [{name: hcm, typed_config: {"@type": {{.HCM}}, stat_prefix: front, codec_type: HTTP2, http_filters: [{{.Router}}],
      route_config: {virtual_hosts: [{name: any, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: inner}}]}]}}}]}]
  - name: inner
    internal_listener: {}
    filter_chains: [{filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy,
      stat_prefix: inner, cluster: gateway, tunneling_config: {hostname: "origin.test:80"}}}]}]
  - name: gateway
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Gateway}}}}
    filter_chains: [{filters: [{name: hcm, typed_config: {"@type": {{.HCM}}, stat_prefix: gateway, codec_type: HTTP2, http_filters: [{{.Router}}],
      upgrade_configs: [{upgrade_type: CONNECT}],
      route_config: {virtual_hosts: [{name: any, domains: ["*"], routes: [{match: {connect_matcher: {}}, route: {cluster: origin, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}}]}]}}}]}]
  clusters:
  - name: inner
    type: STATIC
    connect_timeout: 5s
    typed_extension_protocol_options: {{.HTTP2}}
    load_assignment: {cluster_name: inner, endpoints: [{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {server_listener_name: inner}}}}]}]}
  - name: gateway
    type: STATIC
    connect_timeout: 5s
    typed_extension_protocol_options: {{.HTTP2}}
    load_assignment: {cluster_name: gateway, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.Gateway}}}}}}]}]}
  - name: origin
    type: STATIC
    connect_timeout: 5s
    load_assignment: {cluster_name: origin, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.Origin}}}}}}]}]}
`

const (
	hcmType      = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
	routerFilter = `{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}`
	http2Options = `{envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions,
      explicit_http_config: {http2_protocol_options: {}}}}`
)

// http2Client speaks HTTP/2 in the clear.
func http2Client() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http2.Transport{AllowHTTP: true,
		DialTLSContext: func(ctx context.Context, n, a string, _ *tls.Config) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, n, a)
		}}}
}

// K02, K13: a request and its body through the chain, whatever the pipe holds.
func TestK02K13HTTPThroughInternalTunnel(t *testing.T) {
	for _, kb := range []int{0, 1, 5, 128, 8192} { // 0: the default
		t.Run(fmt.Sprintf("K02K13 %d KiB", kb), func(t *testing.T) {
			p := ports.Free(t, 2)
			text := render(t, httpChain, map[string]any{
				"KB": kb, "Front": p[0], "Gateway": p[1], "Origin": echoHTTP2(t),
				"HCM": hcmType, "Router": routerFilter, "HTTP2": http2Options,
			})
			s := serve(t, strings.Replace(text, ", buffer_size_kb: 0}", "}", 1), time.Minute)
			client := http2Client()
			defer client.CloseIdleConnections()
			for _, size := range []int{16 << 10, 1 << 20} { // the second one finds the connection
				body := make([]byte, size)
				_, _ = rand.Read(body)
				res, err := client.Post("http://"+loopback(p[0])+"/", "x/y", bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || res.StatusCode != 200 || !bytes.Equal(got, body) {
					t.Errorf("%d, %d bytes of %d, %v", res.StatusCode, len(got), len(body), err)
				}
				if loop := res.Header.Get("X-Loop"); loop != "culvert; hops=1" {
					t.Errorf("the origin was told %q", loop)
				}
			}
			s.counts(t, map[string]int64{
				"listener.envoy_internal_inner.downstream_cx_total": 1, "cluster.inner.upstream_cx_total": 1,
				"http.gateway.downstream_rq_total": 1, "cluster.inner.upstream_rq_total": 2,
			})
		})
	}
}

// echoHTTP2 is an origin that sends bodies back, over HTTP/2 in the clear.
func echoHTTP2(t *testing.T) (port string) {
	ln := listen(t)
	var clear http.Protocols
	clear.SetUnencryptedHTTP2(true)
	srv := &http.Server{Protocols: &clear, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Loop", strings.Join(r.Header.Values("Cdn-Loop"), ", "))
		_, _ = io.Copy(w, r.Body)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }() // ends with Close
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return portOf(ln.Addr().String())
}

// A connection manager whose route leads back to it through an internal
// endpoint: the requests count their hops, though they share one connection.
func TestLoopThroughHTTP(t *testing.T) {
	p := ports.Free(t, 2)
	text := render(t, httpChain, map[string]any{
		"KB": 64, "Front": p[0], "Gateway": p[1], "Origin": 1, "HCM": hcmType, "Router": routerFilter, "HTTP2": http2Options,
	})
	i := strings.Index(text, "  - name: inner\n    internal_listener")
	j := strings.Index(text, "  - name: gateway\n    address")
	text = text[:i] + `  - name: inner
    internal_listener: {}
    filter_chains: [{filters: [{name: hcm, typed_config: {"@type": ` + hcmType + `, stat_prefix: inner, codec_type: HTTP2, http_filters: [` + routerFilter + `],
      route_config: {virtual_hosts: [{name: any, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: inner}}]}]}}}]}]
` + text[j:]
	s := serve(t, text, time.Minute)
	client := http2Client()
	defer client.CloseIdleConnections()
	res, err := client.Get("http://" + loopback(p[0]) + "/")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if status := res.Header.Get("Proxy-Status"); res.StatusCode != 502 || !strings.Contains(status, "error=proxy_loop_detected") {
		t.Errorf("status %d, Proxy-Status %q", res.StatusCode, status)
	}
	s.counts(t, map[string]int64{"http.inner.downstream_rq_total": network.MaxHops})
}
