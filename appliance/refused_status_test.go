package appliance

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"culvert/test/peer"
	"culvert/test/ports"
)

// refusedChain asks a proxy that says no, in each way there is:
//
//	front (HCM) ─ http_11_proxy ─────────────────────────▶ proxy (HTTP/1.1)
//	front (HCM) ─ culvert.v1.TunnelTransport ═══════════════▶ proxy (HTTP/1.1, HTTP/2)
//	front (HCM) ─ HTTP in a pipe ─▶ inner (tcp_proxy) ═══▶ proxy (HTTP/1.1, HTTP/2)
//	front (HCM) ─ CONNECT ────────▶ inner (tcp_proxy) ═══▶ proxy (HTTP/1.1, HTTP/2)
const refusedChain = `
bootstrap_extensions:
- name: envoy.bootstrap.internal_listener
  typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Front}}}}
    filter_chains: [{filters: [{name: hcm, typed_config: {"@type": {{.HCM}}, stat_prefix: front, http_filters: [{{.Router}}],
      upgrade_configs: [{upgrade_type: CONNECT}],
      route_config: {virtual_hosts: [{name: any, domains: ["*"], routes: [
        {match: {connect_matcher: {}}, route: {cluster: inner, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}},
        {match: {prefix: /direct}, route: {cluster: direct}},
        {match: {prefix: /tunnelled}, route: {cluster: tunnelled}},
        {match: {prefix: /}, route: {cluster: inner}}]}]}}}]}]
  - name: inner
    internal_listener: {}
    filter_chains: [{filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy,
      stat_prefix: inner, cluster: proxy, max_connect_attempts: 2, tunneling_config: {hostname: "origin.test:80"}}}]}]
  clusters:
  - name: inner
    type: STATIC
    connect_timeout: 5s
    load_assignment: {cluster_name: inner, endpoints: [{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {server_listener_name: inner}}}}]}]}
  - name: proxy
    type: STATIC
    connect_timeout: 5s
    {{if .Two}}typed_extension_protocol_options: {{.HTTP2}}{{end}}
    load_assignment: {cluster_name: proxy, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.Proxy}}}}}}]}]}
  - name: direct
    type: STATIC
    connect_timeout: 5s
    transport_socket: {name: p, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.http_11_proxy.v3.Http11ProxyUpstreamTransport,
      default_proxy_address: {socket_address: {address: 127.0.0.1, port_value: {{.Old}}}},
      transport_socket: {name: tls, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, sni: origin.test}}}}
    load_assignment: {cluster_name: direct, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 192.0.2.1, port_value: 80}}}}]}]}
  - name: tunnelled
    type: STATIC
    connect_timeout: 5s
    transport_socket: {name: t, typed_config: {"@type": type.googleapis.com/culvert.v1.TunnelTransport, cluster: proxy}}
    load_assignment: {cluster_name: tunnelled, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 192.0.2.1, port_value: 80}}}}]}]}
`

// A proxy's no to the CONNECT beneath a request is the client's answer, with the
// challenge that came with it, also through an internal listener.
func TestRefusedConnectStatusIsPassedBack(t *testing.T) {
	no := peer.Answer(407, "proxy-authenticate", "Basic realm=x")
	for _, two := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP2 to the proxy %v", two), func(t *testing.T) {
			old := peer.NewHTTP1Gateway(t, listen(t), nil, no)
			proxy := old
			if two {
				proxy = peer.NewGateway(t, listen(t), nil, no)
			}
			p := ports.Free(t, 1)
			serve(t, render(t, refusedChain, map[string]any{
				"Front": p[0], "Proxy": portOf(proxy.Addr()), "Old": portOf(old.Addr()), "Two": two,
				"HCM": hcmType, "Router": routerFilter, "HTTP2": http2Options,
			}), time.Minute)
			front := loopback(p[0])
			clients := map[string]*http.Client{"HTTP1": {Timeout: patience, Transport: &http.Transport{}}, "HTTP2": http2Client()}
			for version, client := range clients {
				for _, path := range []string{"/direct", "/tunnelled", "/internal"} {
					res, err := client.Get("http://" + front + path)
					if err != nil {
						t.Fatalf("%s %s: %v", version, path, err)
					}
					_ = res.Body.Close()
					refusedWith407(t, version+" "+path, res)
				}
				client.CloseIdleConnections()
			}
			refusedWith407(t, "HTTP1 CONNECT", connectOverHTTP1(t, front))
			res, err := clients["HTTP2"].Do(&http.Request{
				Method: "CONNECT", URL: &url.URL{Scheme: "http", Host: front}, Host: "origin.test:80", Header: http.Header{},
			})
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			refusedWith407(t, "HTTP2 CONNECT", res)
			clients["HTTP2"].CloseIdleConnections()
		})
	}
}

func refusedWith407(t *testing.T, what string, res *http.Response) {
	t.Helper()
	if res.StatusCode != 407 || res.Header.Get("proxy-authenticate") != "Basic realm=x" {
		t.Errorf("%s: %d %v", what, res.StatusCode, res.Header)
	}
	if !strings.Contains(res.Header.Get("proxy-status"), "tunnel_response:407") {
		t.Errorf("%s: proxy-status %q", what, res.Header.Get("proxy-status"))
	}
}

// connectOverHTTP1 is the answer to a CONNECT.
func connectOverHTTP1(t *testing.T, front string) *http.Response {
	t.Helper()
	c, err := net.Dial("tcp", front)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprint(c, "CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: "CONNECT"})
	if err != nil {
		t.Fatal(err)
	}
	return res
}
