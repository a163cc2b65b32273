package configs

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/configs/field"
)

const checked = `node: {id: me, locality: {zone: z}}
admin:
  profile_path: /tmp/p
  address: {socket_address: {address: 127.0.0.1, port_value: 1, resolver_name: r}}
static_resources:
  clusters:
  - name: c
    connect_timeout: 1s
    lb_policy: RANDOM
    typed_extension_protocol_options:
      policy: {"@type": type.googleapis.com/culvert.v1.EgressPolicy, allow_private: true}
      other: {"@type": type.googleapis.com/google.protobuf.StringValue, value: x}
  listeners:
  - name: l
    internal_listener: {}
    filter_chains:
    - filters:
      - name: tunnel
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: s
          cluster: c
          idle_timeout: 0s
          metadata_match: {}
      - name: say
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}
      - name: nothing
        typed_config: {}
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: h
          rds: {route_config_name: r, config_source: {ads: {}}}
          http_filters:
          - name: maybe
            is_optional: true
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}
          - name: must
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}
`

func someHonoured() field.Honoured {
	const hcm = "envoy.extensions.filters.network.http_connection_manager.v3."
	return field.Honoured{
		"envoy.config.bootstrap.v3.Bootstrap":                    "static_resources admin",
		"envoy.config.bootstrap.v3.Admin":                        "address",
		"envoy.config.bootstrap.v3.Bootstrap.StaticResources":    "listeners clusters",
		"envoy.config.core.v3.Address":                           "socket_address",
		"envoy.config.core.v3.SocketAddress":                     "address port_value",
		"envoy.config.cluster.v3.Cluster":                        "name connect_timeout typed_extension_protocol_options",
		"culvert.v1.EgressPolicy":                                "allow deny",
		"envoy.config.listener.v3.Listener":                      "name internal_listener filter_chains",
		"envoy.config.listener.v3.FilterChain":                   "filters",
		"envoy.config.listener.v3.Filter":                        "name typed_config",
		"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": "stat_prefix cluster idle_timeout",
		hcm + "HttpConnectionManager":                            "stat_prefix http_filters",
		hcm + "HttpFilter":                                       "name typed_config is_optional",
	}
}

func TestCheck(t *testing.T) {
	doc, err := Load(Source{YAML: checked})
	if err != nil {
		t.Fatal(err)
	}
	const chain = "static_resources.listeners[0].filter_chains[0].filters"
	want := []string{
		`--config-yaml:4: admin.address.socket_address.resolver_name: field "resolver_name" is not supported by culvert (envoy.config.core.v3.SocketAddress) (remove it)`,
		`--config-yaml:9: static_resources.clusters[0].lb_policy: field "lb_policy" is not supported by culvert (envoy.config.cluster.v3.Cluster) (remove it)`,
		`--config-yaml:11: static_resources.clusters[0].typed_extension_protocol_options[policy].allow_private: field "allow_private" is not supported by culvert (culvert.v1.EgressPolicy) (remove it)`,
		`--config-yaml:24: ` + chain + `[0].typed_config.metadata_match: field "metadata_match" is not supported by culvert (envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy) (remove it)`,
		`--config-yaml:26: ` + chain + `[1].typed_config: Didn't find a registered implementation for 'say' with type URL: 'envoy.extensions.filters.network.echo.v3.Echo' (culvert does not have this extension)`,
		`--config-yaml:33: ` + chain + `[3].typed_config.rds: field "rds" is not supported by culvert (envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager) (remove it)`,
		`--config-yaml:39: ` + chain + `[3].typed_config.http_filters[1].typed_config: Didn't find a registered implementation for 'must' with type URL: 'envoy.extensions.filters.http.lua.v3.Lua' (culvert does not have this extension)`,
	}
	err = doc.Check(someHonoured())
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	all := someHonoured()
	all.Merge(field.Honoured{
		"envoy.config.core.v3.SocketAddress":                                                "resolver_name",
		"envoy.config.cluster.v3.Cluster":                                                   "lb_policy",
		"culvert.v1.EgressPolicy":                                                           "allow_private",
		"envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy":                            "metadata_match",
		"envoy.extensions.filters.network.echo.v3.Echo":                                     "",
		"envoy.extensions.filters.http.lua.v3.Lua":                                          "",
		"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager": "rds",
		"envoy.extensions.filters.network.http_connection_manager.v3.Rds":                   "route_config_name config_source",
		"envoy.config.core.v3.ConfigSource":                                                 "ads",
	})
	if err := doc.Check(all); err != nil {
		t.Errorf("with everything declared: %v", err)
	}
}

// TestProblems finds the lines of a constructor's errors, of which it knows the
// path only.
func TestProblems(t *testing.T) {
	doc, err := Load(Source{YAML: checked})
	if err != nil {
		t.Fatal(err)
	}
	const tcp = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"
	inner := field.Join(
		field.Errorf("cluster", "unknown cluster"),
		field.Errorf("tunneling_config.hostname", "not in the file"),
		errors.New("without a path"),
	)
	err = field.Join(
		field.WithFix(field.At(tcp, inner), "fix it"),
		doc.Check(field.Honoured{}),
		field.Errorf("static_resources.clusters[7]", "no such item"),
		field.Errorf("static_resources.clusters[0].typed_extension_protocol_options[policy].allow_private", "a key"),
	)
	var got []string
	for _, p := range doc.Problems(err) {
		got = append(got, p.String())
	}
	want := []string{
		"--config-yaml:22: " + tcp + ".cluster: unknown cluster (fix it)",
		"--config-yaml:19: " + tcp + ".tunneling_config.hostname: not in the file (fix it)",
		"--config-yaml:19: " + tcp + ": without a path (fix it)",
		`--config-yaml:2: admin: field "admin" is not supported by culvert (envoy.config.bootstrap.v3.Bootstrap) (remove it)`,
		`--config-yaml:5: static_resources: field "static_resources" is not supported by culvert (envoy.config.bootstrap.v3.Bootstrap) (remove it)`,
		"--config-yaml:6: static_resources.clusters[7]: no such item",
		"--config-yaml:11: static_resources.clusters[0].typed_extension_protocol_options[policy].allow_private: a key",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	var none *Document
	if got := none.Problems(field.Errorf("a.b", "no document")); len(got) != 1 || got[0].String() != "a.b: no document" {
		t.Errorf("without a document: %v", got)
	}
	if got := none.Problems(nil); got != nil {
		t.Errorf("of no error: %v", got)
	}
}
