package appliance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"culvert/proxy/network"
	"culvert/test/ports"
)

// A listener whose tcp_proxy leads back to it: whoever comes is refused after
// a bounded number of rounds, whatever the number of attempts, and nothing stays
// behind.
//
//	front ─▶ inner1 ─▶ inner2 ─▶ inner1 ─▶ …
func TestLoopInProcess(t *testing.T) {
	front := ports.Free(t, 1)[0]
	text := chainConfig(t, fmt.Sprint(front), "1", 2)
	text = strings.Replace(text, "{socket_address: {address: 127.0.0.1, port_value: 1}}", "{envoy_internal_address: {server_listener_name: inner1}}", 1)
	text = strings.ReplaceAll(text, "stat_prefix: inner", "max_connect_attempts: 5\n          stat_prefix: inner")
	s := serve(t, text, time.Minute)
	for range 3 {
		if err := connectAndRead(loopback(front)); !network.IsReset(err) {
			t.Errorf("the application is told %v, want a reset", err)
		}
	}
	eventually(t, "the flows end", func() bool { return s.flows.Len() == 0 })
	for _, snap := range endedIn(s, "front") {
		if snap.Verdict != network.VerdictNetUnreachable.String() || !strings.Contains(snap.Cause, "loop") {
			t.Errorf("verdict %q, cause %q", snap.Verdict, snap.Cause)
		}
	}
	s.counts(t, map[string]int64{
		"tcp.inner1.downstream_cx_total":                              3 * network.MaxHops,
		"tcp.inner2.downstream_cx_total":                              3 * network.MaxHops,
		"listener.envoy_internal_inner1.downstream_cx_total":          3 * (network.MaxHops + 1),
		"listener.envoy_internal_inner1.downstream_cx_active":         0,
		"cluster.behind_inner2.upstream_cx_connect_attempts_exceeded": 0,
	})
}

// A chain of different listeners is no loop, whatever its length.
func TestLongChainIsNoLoop(t *testing.T) {
	origin := greeter(t)
	front := ports.Free(t, 1)[0]
	serve(t, chainConfig(t, fmt.Sprint(front), portOf(origin), 3*network.MaxHops), time.Minute)
	if err := connectAndRead(loopback(front)); err != nil {
		t.Error(err)
	}
}

// passer is a gateway that passes every CONNECT it gets on to Next: it proxies
// it, or takes the tunnel apart and lets an internal listener ask for another.
const passer = `
bootstrap_extensions:` + internalExtension + `
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Front}}}}
    filter_chains: [{filters: [{name: tcp, typed_config: {{.Tunnel}}}]}]
  - name: again
    internal_listener: {}
    filter_chains: [{filters: [{name: tcp, typed_config: {{.Tunnel}}}]}]
  - name: gateway
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Port}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          codec_type: HTTP2
          http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
          upgrade_configs: [{upgrade_type: CONNECT}]
          route_config: {virtual_hosts: [{name: any, domains: ["*"], routes: [{match: {connect_matcher: {}}, route: {{.Route}}}]}]}
  clusters:
  - name: next
    type: STATIC
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment: {cluster_name: next, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.Next}}}}}}]}]}
  - name: again
    type: STATIC
    load_assignment: {cluster_name: again, endpoints: [{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {server_listener_name: again}}}}]}]}
`

// Two gateways that point at each other: the loop is told to whoever began it,
// after as many requests as are allowed, though each would try four times.
func TestLoopAcrossGateways(t *testing.T) {
	const tunnelTo = `{"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy,
      stat_prefix: tunnel, cluster: next, max_connect_attempts: 4, tunneling_config: {hostname: "nowhere.test:80"}}`
	const proxied = `{cluster: next, upgrade_configs: [{upgrade_type: CONNECT}]}`
	const terminated = `{cluster: again, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}`
	for _, c := range []struct{ name, first, second string }{
		{"proxied", proxied, proxied},
		{"terminated", terminated, terminated},
		{"both", proxied, terminated},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := ports.Free(t, 4)
			start := func(front, port, next int, route string) *served {
				return serve(t, render(t, passer, map[string]any{"Front": front, "Port": port, "Next": next, "Tunnel": tunnelTo, "Route": route}), time.Minute)
			}
			a := start(p[0], p[1], p[2], c.first)
			b := start(p[3], p[2], p[1], c.second)
			if err := connectAndRead(loopback(p[0])); !network.IsReset(err) {
				t.Errorf("the application is told %v, want a reset", err)
			}
			eventually(t, "the first flow ends", func() bool { return len(endedIn(a, "front")) == 1 })
			if snap := endedIn(a, "front")[0]; snap.Verdict != network.VerdictNetUnreachable.String() || !strings.Contains(snap.Cause, "502: loop") {
				t.Errorf("verdict %q, cause %q", snap.Verdict, snap.Cause)
			}
			requests := func(name string) int64 { return a.value("http.gateway."+name) + b.value("http.gateway."+name) }
			if got := requests("downstream_rq_total"); got != network.MaxHops {
				t.Errorf("%d requests went round, want %d", got, network.MaxHops)
			}
			eventually(t, "nothing is under way", func() bool { return requests("downstream_rq_active") == 0 })
		})
	}
}
