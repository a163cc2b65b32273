package appliance

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"culvert/configs"

	"golang.org/x/sys/unix"
)

// loopConfig is a TUN before one cluster.
const loopConfig = `
bootstrap_extensions:
- name: tun
  typed_config: {"@type": type.googleapis.com/culvert.v1.Tun, name: culvert0, %s}
- name: envoy.bootstrap.internal_listener
  typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}
static_resources:
  listeners:
  - name: capture
    internal_listener: {}
    filter_chains:
    - filters:
      - name: tcp
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: s, cluster: out}
  clusters:
  - {name: out, connect_timeout: 5s, %s}
`

const originalDestinations = "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED"

func endpointOf(kind, address string) string {
	return fmt.Sprintf("type: %s, load_assignment: {cluster_name: out, endpoints: [{lb_endpoints: [{endpoint: "+
		"{address: {socket_address: {address: %q, port_value: 443}}}}]}]}", kind, address)
}

// proxyAt has a cluster go through a proxy, behind another transport.
func proxyAt(address string) string {
	return fmt.Sprintf(`transport_socket: {name: pp, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport, `+
		`transport_socket: {name: h, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.http_11_proxy.v3.Http11ProxyUpstreamTransport, `+
		`default_proxy_address: {socket_address: {address: %q, port_value: 3128}}, `+
		`transport_socket: {name: raw, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}}}}`, address)
}

// A TUN beside culvert's own sockets must not be able to capture them.
func TestLoopsAreRefused(t *testing.T) {
	const wide = `routes: [0.0.0.0/0, "::/0"]`
	tests := []struct {
		name, tun, cluster string
		to                 string // what would be captured; empty: nothing
	}{
		{"an address", wide, endpointOf("STATIC", "192.0.2.1"), "192.0.2.1"},
		{"an address of the other family", "routes: [0.0.0.0/0]", endpointOf("STATIC", "2001:db8::1"), ""},
		{"an IPv4 address as IPv6", wide, endpointOf("STATIC", "::ffff:192.0.2.1"), "::ffff:192.0.2.1"},
		{"an address that is excluded", wide + ", exclude_routes: [192.0.2.0/24]", endpointOf("STATIC", "192.0.2.1"), ""},
		{"an address elsewhere", "routes: [10.0.0.0/8]", endpointOf("STATIC", "192.0.2.1"), ""},
		{"loopback", wide, endpointOf("STATIC", "127.0.0.1"), ""},
		{"original destinations", wide, originalDestinations, "the original destinations"},
		{"original destinations of a narrow route", "routes: [10.0.0.0/8]", originalDestinations, "the original destinations"},
		{"original destinations without a route", "addresses: [198.18.0.1/32]", originalDestinations, ""},
		{"original destinations, all excluded", "routes: [10.0.0.0/8], exclude_routes: [10.0.0.0/9, 10.128.0.0/9]", originalDestinations, ""},
		{"a name, strict", wide, endpointOf("STRICT_DNS", "gateway.example"), "gateway.example"},
		{"a name, logical", wide, endpointOf("LOGICAL_DNS", "gateway.example"), "gateway.example"},
		{"a name and no route", "addresses: [198.18.0.1/32]", endpointOf("LOGICAL_DNS", "gateway.example"), ""},
		{"localhost", wide, endpointOf("STRICT_DNS", "localhost"), ""},
		{"a mark", wide + ", table: 3073, mark: 3073", originalDestinations, ""},
		{"the operator's own rule", wide + ", mark: 3073", originalDestinations, ""},
		{"another namespace", wide + ", netns: /run/netns/app", originalDestinations, ""},
		{"a proxy", wide + ", exclude_routes: [192.0.2.1]", endpointOf("STATIC", "192.0.2.1") + ", " + proxyAt("192.0.2.9"), "192.0.2.9"},
		{"a proxy that is excluded", wide + ", exclude_routes: [192.0.2.9]", endpointOf("STATIC", "192.0.2.1") + ", " + proxyAt("192.0.2.9"), ""},
		{"a proxy of a name", wide, endpointOf("STATIC", "127.0.0.1") + ", " + proxyAt("proxy.example"), "proxy.example"},
		{"original destinations by a proxy", wide, originalDestinations + ", " + proxyAt("192.0.2.9"), "192.0.2.9"},
		{"original destinations by a proxy on the loopback", wide, originalDestinations + ", " + proxyAt("127.0.0.1"), ""},
		{"an endpoint's own proxy", wide + ", exclude_routes: [192.0.2.0/24]", strings.Replace(endpointOf("STATIC", "192.0.2.1"), "{endpoint:",
			`{metadata: {typed_filter_metadata: {envoy.http11_proxy_transport_socket.proxy_address: {"@type": type.googleapis.com/envoy.config.core.v3.Address, `+
				`socket_address: {address: 198.51.100.1, port_value: 3128}}}}, endpoint:`, 1) + ", " + proxyAt("192.0.2.9"), "198.51.100.1"},
		{"what is bound inside", `netstack_listeners: [{address: 198.18.0.10, port: 80, listener: capture}]`, originalDestinations, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := Validate(configs.Source{YAML: fmt.Sprintf(loopConfig, tt.tun, tt.cluster)})
			if tt.to == "" {
				if len(problems) != 0 {
					t.Errorf("refused: %q", problems)
				}
				return
			}
			want := "culvert's own connections to " + tt.to + ` of cluster "out" would enter this TUN`
			if len(problems) != 1 || problems[0].Message != want || !strings.HasSuffix(problems[0].Path, "typed_config.routes") ||
				!strings.Contains(problems[0].Fix, "set table and mark") {
				t.Errorf("problems %q, want %q", problems, want)
			}
		})
	}
}

// A netns that is only another name of our own namespace is no other one. (Of
// the process's threads the first one, /proc/self, may have been left in the
// namespace of another test: Go cannot end it.)
func TestOwnNamespaceIsNoOther(t *testing.T) {
	runtime.LockOSThread() // so that this thread is somewhere to look
	defer runtime.UnlockOSThread()
	for _, netns := range []string{fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), "/proc/thread-self/ns/net"} {
		s := newServed(t, configs.Source{YAML: fmt.Sprintf(loopConfig, `routes: [0.0.0.0/0], netns: `+netns, originalDestinations)}, time.Minute)
		s.start(t)
		err := s.wait(t)
		if err == nil || !strings.Contains(err.Error(), netns+" is the namespace culvert is in") || !strings.Contains(err.Error(), "set table and mark") {
			t.Errorf("%s: Run: %v", netns, err)
		}
	}
}
