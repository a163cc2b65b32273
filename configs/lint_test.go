package configs

import (
	"strings"
	"testing"
)

// gateway is a configuration with everything a rule looks at, and nothing that
// any rule finds; a test changes one thing.
const gateway = `static_resources:
  listeners:
  - name: l
    address: {socket_address: {address: 0.0.0.0, port_value: 443}}
    filter_chains:
    - transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context: {validation_context: {trusted_ca: {filename: ca.pem}}}
      filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: h
          route_config:
            virtual_hosts:
            - name: v
              domains: ["*"]
              routes:
              - match: {connect_matcher: {}}
                route:
                  cluster: chosen
                  upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]
          http_filters: []
  clusters:
  - name: chosen
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    original_dst_lb_config: {use_http_header: true, http_header_name: ":authority"}
  - name: edge
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: edge.example
        common_tls_context: {validation_context: {trusted_ca: {filename: ca.pem}}}
`

const (
	aRoute   = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0]"
	aHost    = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0]"
	upstream = "static_resources.clusters[1].transport_socket.typed_config"
	open     = "require_client_certificate: true\n" // replaced by nothing, makes it an open relay

	upgrade = "upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]"
	trusted = "common_tls_context: {validation_context: {trusted_ca: {filename: ca.pem}}}\n"
)

// aProxy is where the TCP proxy of proxyChain stands.
const aProxy = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"

// proxyChain is a filter chain with a TCP proxy, before those that are there.
func proxyChain(config string) string {
	return `    filter_chains:
    - filter_chain_match: {destination_port: 9}
      filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, ` + config + `}}]
`
}

func TestLint(t *testing.T) {
	tests := []struct {
		name   string
		change []string // pairs of old and new text
		want   []string // path and how the message begins
	}{
		{"nothing to find", nil, nil},

		{
			"CONNECT route without connect_matcher",
			[]string{"match: {connect_matcher: {}}", `match: {prefix: "/"}`},
			[]string{aRoute + ".match: this route of virtual host \"v\" is for CONNECT"},
		},
		{"POST needs no connect_matcher", []string{
			"match: {connect_matcher: {}}", `match: {prefix: "/"}`,
			"connect_config: {}", "connect_config: {allow_post: true}",
		}, nil},
		{"a CONNECT upgrade switched off", []string{
			"match: {connect_matcher: {}}", `match: {prefix: "/"}`,
			"connect_config: {}", "enabled: false",
		}, nil},
		{"another upgrade", []string{
			"match: {connect_matcher: {}}", `match: {prefix: "/"}`,
			upgrade, "upgrade_configs: [{upgrade_type: websocket}]",
		}, nil},

		{
			"domains without a port",
			[]string{`["*"]`, `[a.example, "*.b.example", "c.example:443", "*.d.example:443", "e.*", "[::1]:443", "[::1]"]`},
			[]string{
				aHost + `.domains[0]: virtual host "v" serves CONNECT, whose authority has a port, and the domain "a.example"`,
				aHost + `.domains[1]: virtual host "v" serves CONNECT, whose authority has a port, and the domain "*.b.example"`,
				aHost + `.domains[6]: virtual host "v" serves CONNECT, whose authority has a port, and the domain "[::1]"`,
			},
		},
		{"the port is stripped", []string{`["*"]`, "[a.example]", "stat_prefix: h", "stat_prefix: h\n          strip_any_host_port: true"}, nil},
		{"the port is not looked at", []string{`["*"]`, "[a.example]", "route_config:", "route_config:\n            ignore_port_in_host_matching: true"}, nil},
		{"no CONNECT in this virtual host", []string{`["*"]`, "[a.example]", "connect_matcher: {}", `prefix: "/"`, upgrade, ""}, nil},

		{
			"upstream TLS without a validation context",
			[]string{"sni: edge.example\n        " + trusted, "sni: edge.example\n"},
			[]string{upstream + ": nothing says which certificates to trust"},
		},
		{
			"upstream TLS that accepts anything",
			[]string{"sni: edge.example\n        " + trusted, "sni: edge.example\n        " +
				"common_tls_context: {validation_context: {trust_chain_verification: ACCEPT_UNTRUSTED}}\n"},
			[]string{upstream + ".common_tls_context.validation_context.trust_chain_verification: any server's certificate is accepted"},
		},
		{
			"upstream TLS without a name",
			[]string{"        sni: edge.example\n", ""},
			[]string{upstream + ": no server name is asked for"},
		},
		{"upstream TLS by pin", []string{"sni: edge.example\n        " + trusted, "common_tls_context: {validation_context: " +
			"{verify_certificate_spki: [NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=]}}\n"}, nil},
		{"upstream TLS by the system's authorities", []string{"sni: edge.example\n        " + trusted,
			"sni: edge.example\n        common_tls_context: {validation_context: {system_root_certs: {}}}\n"}, nil},
		{"upstream TLS by a name in the certificate", []string{"sni: edge.example\n        " + trusted, "common_tls_context: {validation_context: " +
			"{trusted_ca: {filename: ca.pem}, match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: x}}]}}\n"}, nil},

		{"CONNECT that nothing allows", []string{upgrade, ""},
			[]string{aRoute + ".route: this route of virtual host \"v\" matches CONNECT, and no upgrade_configs allows it"}},
		{"CONNECT that the route switches off", []string{"connect_config: {}", "enabled: false"},
			[]string{aRoute + ".route: this route of virtual host \"v\" matches CONNECT, and no upgrade_configs allows it"}},
		{"CONNECT that the manager allows", []string{upgrade, "", "http_filters: []", "upgrade_configs: [{upgrade_type: connect}]"}, nil},

		{"ALPN without h2 before HTTP/2", []string{"stat_prefix: h", "stat_prefix: h\n          codec_type: HTTP2",
			"          common_tls_context: {validation", "          common_tls_context: {alpn_protocols: [http/1.1], validation"},
			[]string{"static_resources.listeners[0].filter_chains[0].transport_socket.typed_config.common_tls_context.alpn_protocols: clients are offered \"http/1.1\""}},
		{"ALPN with h2 before HTTP/2", []string{"stat_prefix: h", "stat_prefix: h\n          codec_type: HTTP2",
			"          common_tls_context: {validation", "          common_tls_context: {alpn_protocols: [http/1.1, h2], validation"}, nil},
		{"ALPN without h2 before either", []string{"          common_tls_context: {validation", "          common_tls_context: {alpn_protocols: [http/1.1], validation"}, nil},

		{"a TCP proxy's cluster that is not there", []string{"    filter_chains:\n", proxyChain("cluster: egde")},
			[]string{aProxy + ".cluster: unknown cluster 'egde'"}},
		{"weighted ones", []string{"    filter_chains:\n", proxyChain("weighted_clusters: {clusters: [{name: edge, weight: 1}, {name: none, weight: 1}]}")},
			[]string{aProxy + ".weighted_clusters.clusters[1].name: unknown cluster 'none'"}},
		{"a TCP proxy's cluster that is there", []string{"    filter_chains:\n", proxyChain("cluster: edge")}, nil},
		{"a tunnel to a name without a port", []string{"    filter_chains:\n", proxyChain("cluster: edge, tunneling_config: {hostname: db.example}")},
			[]string{aProxy + ".tunneling_config.hostname: CONNECT asks for an authority with a port, and \"db.example\" has none"}},
		{"a tunnel to a name with a port", []string{"    filter_chains:\n", proxyChain("cluster: edge, tunneling_config: {hostname: 'db.example:5432'}")}, nil},
		{"a tunnel to what a format says", []string{"    filter_chains:\n", proxyChain("cluster: edge, tunneling_config: {hostname: '%DOWNSTREAM_LOCAL_ADDRESS%'}")}, nil},
		{"a tunnel by POST", []string{"    filter_chains:\n", proxyChain("cluster: edge, tunneling_config: {hostname: db.example, use_post: true}")}, nil},

		{"open relay", []string{open, "\n"}, []string{aRoute + ": open relay: whoever reaches 0.0.0.0:443 can connect through cluster \"chosen\""}},
		{
			"open relay without TLS, by name, for POST, on a second address",
			[]string{
				open, "\n", "address: 0.0.0.0, port_value: 443}}", "address: 127.0.0.1, port_value: 443}}\n" +
					"    additional_addresses: [{address: {socket_address: {address: \"::\", port_value: 8443}}}]",
				"type: ORIGINAL_DST", "cluster_type: {name: x, typed_config: {\"@type\": " +
					"type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig}}",
				"connect_config: {}", "connect_config: {allow_post: true}",
			},
			[]string{aRoute + ": open relay: whoever reaches [::]:8443 can"},
		},
		{
			"a policy that does not list the targets", []string{open, "\n", "lb_policy: CLUSTER_PROVIDED", "lb_policy: CLUSTER_PROVIDED\n" +
				`    typed_extension_protocol_options: {p: {"@type": type.googleapis.com/culvert.v1.EgressPolicy, allow_private: true}}`},
			[]string{aRoute + ": open relay"},
		},
		{"a policy that does", []string{open, "\n", "lb_policy: CLUSTER_PROVIDED", "lb_policy: CLUSTER_PROVIDED\n" +
			`    typed_extension_protocol_options: {p: {"@type": type.googleapis.com/culvert.v1.EgressPolicy, only_allowed: true}}`}, nil},
		{"on loopback", []string{open, "\n", "0.0.0.0", "127.0.0.53"}, nil},
		{"a target the operator chose", []string{open, "\n", "cluster: chosen", "cluster: edge"}, nil},
		{"the connection's own destination", []string{open, "\n", `original_dst_lb_config: {use_http_header: true, http_header_name: ":authority"}`, ""}, nil},
		{"CONNECT passed on, not taken apart", []string{open, "\n", ", connect_config: {}", ""}, nil},
		{"a password", []string{open, "\n", "match: {connect_matcher: {}}",
			"match: {connect_matcher: {}, headers: [{name: Proxy-Authorization, string_match: {exact: x}}]}"}, nil},
		{"a filter that authenticates", []string{open, "\n", "http_filters: []",
			`http_filters: [{name: x, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.basic_auth.v3.BasicAuth, users: {inline_string: x}}}]`}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := gateway
			for i := 0; i < len(tt.change); i += 2 {
				if !strings.Contains(text, tt.change[i]) {
					t.Fatalf("the configuration has no %q to change", tt.change[i])
				}
				text = strings.ReplaceAll(text, tt.change[i], tt.change[i+1])
			}
			doc, err := Load(Source{YAML: text})
			if err != nil {
				t.Fatal(err)
			}
			checkLint(t, doc.Lint(), tt.want)
		})
	}
}

func checkLint(t *testing.T, got []Problem, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("found %v, want %d", got, len(want))
		return
	}
	for i, p := range got {
		if !strings.HasPrefix(p.Path+": "+p.Message, want[i]) {
			t.Errorf("found %v, want %s", p, want[i])
		}
		if p.Line == 0 || p.Fix == "" {
			t.Errorf("no line or no fix: %v", p)
		}
	}
}
