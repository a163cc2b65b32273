package appliance

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/configs"
	"culvert/proxy/network"
	"culvert/test/need"
	"culvert/test/peer"
	"culvert/test/ports"
	"culvert/test/topology"
)

const internalExtension = `
- name: envoy.bootstrap.internal_listener
  typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}`

// boundConfig is a front whose flows ask the gateway, in the same process, for
// Target; the gateway connects to whatever is asked for, under a policy that
// refuses everything; at 198.18.0.10:80 and [fd00:198:18::a]:80 is a listener
// behind which the origin is.
const boundConfig = `
bootstrap_extensions:
- name: tun
  typed_config: {"@type": type.googleapis.com/culvert.v1.Tun, {{.Device}}, netstack_listeners: [
    {address: 198.18.0.10, port: 80, listener: inside}, {address: "fd00:198:18::/120", port: 80, listener: inside}]}` +
	internalExtension + `
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Front}}}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: front
          cluster: gateway
          tunneling_config: {hostname: "{{.Target}}"}
  - name: gateway
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Gateway}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          codec_type: HTTP2
          http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
          upgrade_configs: [{upgrade_type: CONNECT}]
          route_config:
            virtual_hosts:
            - name: any
              domains: ["*"]
              routes:
              - match: {connect_matcher: {}}
                route: {cluster: asked, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}
  - name: inside
    internal_listener: {}
    filter_chains:
    - filter_chain_match: {destination_port: 80, prefix_ranges: [{address_prefix: 198.18.0.0, prefix_len: 24}, {address_prefix: "fd00:198:18::", prefix_len: 64}]}
      filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: inside
          cluster: origin
  clusters:
  - name: gateway
    type: STATIC
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: gateway
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.Gateway}}}}}}]}]
  - name: asked
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 5s
    original_dst_lb_config: {use_http_header: true, http_header_name: ":authority"}
    typed_extension_protocol_options:
      culvert.egress_policy: {"@type": type.googleapis.com/culvert.v1.EgressPolicy, deny: [{prefix: 0.0.0.0/0}, {prefix: "::/0"}]}
  - name: origin
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: origin
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: {{.OriginHost}}, port_value: {{.OriginPort}}}}}}]}]
`

type boundWorld struct {
	Device, Target, OriginHost, OriginPort string
	Front, Gateway                         int
}

func newBoundWorld(t *testing.T, target, origin string) boundWorld {
	p := ports.Free(t, 2)
	host, port, _ := net.SplitHostPort(origin)
	return boundWorld{Device: "device: NONE", Target: target, OriginHost: host, OriginPort: port, Front: p[0], Gateway: p[1]}
}

// Without a device, and without any privilege: payload whose CONNECT names a
// bound address reaches its listener, whatever the policy says.
func TestDeviceNone(t *testing.T) {
	up, down := peer.Stream{Seed: 1, Size: 4 << 20}, peer.Stream{Seed: 2, Size: 4 << 20}
	for _, target := range []string{"198.18.0.10:80", "[fd00:198:18::7]:80"} {
		t.Run(target, func(t *testing.T) {
			origin := peer.Serve(t, listen(t), peer.Exchange(down, up))
			w := newBoundWorld(t, target, origin.Addr())
			s := serve(t, render(t, boundConfig, w), time.Minute)
			exchangeThrough(t, loopback(w.Front), up, down)
			if err := origin.Result(t.Context()); err != nil {
				t.Errorf("origin: %v", err)
			}
			eventually(t, "the flow inside ends", func() bool { return len(endedIn(s, "inside")) == 1 })
			inner := endedIn(s, "inside")
			if inner[0].LocalAddress.String() != target {
				t.Fatalf("flows inside: %v", inner)
			}
			s.counts(t, map[string]int64{"cluster.asked.upstream_cx_total": 1})
		})
	}
}

// Other ports of a bound address are closed; other addresses are the policy's.
func TestDeviceNoneRefuses(t *testing.T) {
	for target, verdict := range map[string]network.Verdict{
		"198.18.0.10:81": network.VerdictRefused, "198.18.0.11:80": network.VerdictProhibited, "127.0.0.1:80": network.VerdictProhibited,
	} {
		t.Run(target, func(t *testing.T) {
			w := newBoundWorld(t, target, "127.0.0.1:1")
			s := serve(t, render(t, boundConfig, w), time.Minute)
			if err := connectAndRead(loopback(w.Front)); !network.IsReset(err) {
				t.Errorf("the application is told %v", err)
			}
			eventually(t, "the flows end", func() bool { return len(endedIn(s, "front")) == 1 })
			if snap := endedIn(s, "front")[0]; snap.Verdict != verdict.String() {
				t.Errorf("verdict %q (%s), want %q", snap.Verdict, snap.Cause, verdict)
			}
		})
	}
}

func exchangeThrough(t *testing.T, front string, up, down peer.Stream) {
	t.Helper()
	c, err := net.Dial("tcp", front)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	if err := peer.Exchange(up, down)(t.Context(), c); err != nil {
		t.Errorf("application: %v", err)
	}
}

// endedIn are the flows that a listener served, but for the exchanges of its
// connections.
func endedIn(s *served, listener string) []*network.Snapshot {
	var out []*network.Snapshot
	for _, info := range s.flows.Ended() {
		if snap := info.Snapshot(); snap.Listener == listener && snap.ID == snap.ConnectionID {
			out = append(out, snap)
		}
	}
	return out
}

// What has no device is made anew by a reload; a listener that goes with it is
// a connection that fails, not one that leaves by the kernel.
func TestDeviceNoneReload(t *testing.T) {
	origin := peer.Serve(t, listen(t), peer.Echo())
	w := newBoundWorld(t, "198.18.0.10:80", origin.Addr())
	text := render(t, boundConfig, w)
	s := serve(t, text, time.Minute)
	without := strings.Replace(text, "{address: 198.18.0.10, port: 80, listener: inside}, ", "", 1)
	for i, c := range []struct {
		yaml    string
		reaches bool
	}{{without, false}, {text, true}} {
		if err := s.Swap(t.Context(), configs.Source{YAML: c.yaml}); err != nil {
			t.Fatal(err)
		}
		if err := echoedByte(loopback(w.Front)); (err == nil) != c.reaches {
			t.Errorf("swap %d: %v, want reached %v", i, err, c.reaches)
		}
	}
}

func TestNetstackListenerErrors(t *testing.T) {
	const none = "device: NONE"
	bind := func(list string) string { return none + ", netstack_listeners: [" + list + "]" }
	for _, c := range []struct{ name, tun, path, text string }{
		{"unknown listener", bind("{address: 198.18.0.10, port: 80, listener: nobody}"), "netstack_listeners[0].listener", `there is no internal listener "nobody"`},
		{"listener with a socket", bind("{address: 198.18.0.10, port: 80, listener: front}"), "netstack_listeners[0].listener", `there is no internal listener "front"`},
		{"not an address", bind("{address: 198.18.0, port: 80, listener: inside}"), "netstack_listeners[0].address", "is not an address or a prefix"},
		{"host bits", bind("{address: 198.18.0.10/24, port: 80, listener: inside}"), "netstack_listeners[0].address", "198.18.0.0/24 is meant"},
		{"zone", bind("{address: 'fe80::1%eth0', port: 80, listener: inside}"), "netstack_listeners[0].address", "is not an address or a prefix"},
		{"twice", bind("{address: 198.18.0.10, port: 80, listener: inside}, {address: 198.18.0.10/32, port: 80, listener: inside}"),
			"netstack_listeners[1]", `198.18.0.10/32 port 80 is bound to listener "inside" already, by [0]`},
		{"addresses", none + ", addresses: [198.18.0.1]", "addresses", "belongs to a device"},
		{"routes", none + ", routes: [10.0.0.0/8]", "routes", "belongs to a device"},
		{"tcp_listener", none + ", tcp_listener: inside", "tcp_listener", "belongs to a device"},
		{"mark", none + ", mark: 7", "mark", "belongs to a device"},
		{"netns", none + ", netns: /x", "netns", "belongs to a device"},
		{"the interface's own", "addresses: [198.18.0.1/32], netstack_listeners: [{address: 198.18.0.1, port: 80, listener: inside}]",
			"netstack_listeners[0].address", "the interface's own address"},
		{"excluded", "routes: [198.18.0.0/15], exclude_routes: [198.18.0.0/24], netstack_listeners: [{address: 198.18.0.10, port: 80, listener: inside}]",
			"netstack_listeners[0].address", "exclude_routes keeps 198.18.0.10/32 away"},
		{"two netstacks", bind("{address: 198.18.0.10, port: 80, listener: inside}") + "}}, {name: other, typed_config: {\"@type\": type.googleapis.com/culvert.v1.Tun, " +
			bind("{address: 198.18.0.10, port: 80, listener: other}"), "bootstrap_extensions[2].typed_config.netstack_listeners[0]", "by another netstack"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := Validate(configs.Source{YAML: `
bootstrap_extensions: [{name: i, typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}},
  {name: tun, typed_config: {"@type": type.googleapis.com/culvert.v1.Tun, ` + c.tun + `}}]
static_resources:
  listeners:` + emptyListener("front", "address: {socket_address: {address: 127.0.0.1, port_value: 0}}") +
				emptyListener("inside", "internal_listener: {}") + emptyListener("other", "internal_listener: {}")})
			if len(problems) != 1 || !strings.HasSuffix(problems[0].Path, c.path) || !strings.Contains(problems[0].String(), c.text) {
				t.Errorf("got %q\nwant %s: %s", problems, c.path, c.text)
			}
		})
	}
}

func emptyListener(name, where string) string {
	return fmt.Sprintf(`
  - name: %s
    %s
    filter_chains: [{filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: s, cluster: c}}]}]`, name, where)
}

// What is bound is led to the device where no route does already.
func TestBoundPrefixesAreRouted(t *testing.T) {
	for routes, want := range map[string][]string{
		"":                              {"198.18.0.10/32", "fd00:198:18::/120"},
		"routes: [0.0.0.0/0], ":         {"0.0.0.0/0", "fd00:198:18::/120"},
		`routes: [10.0.0.0/8, "::/0"],`: {"10.0.0.0/8", "::/0", "198.18.0.10/32"},
	} {
		w := newBoundWorld(t, "198.18.0.10:80", "127.0.0.1:1")
		w.Device = routes + "name: culvert0, table: 3073, mark: 3073" // a tunnel's target is anywhere
		g := newServed(t, configs.Source{YAML: render(t, boundConfig, w)}, 0).current
		var got []string
		for _, r := range g.tuns[0].plan.Routes {
			got = append(got, r.Prefix.String())
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q: routes %v, want %v", routes, got, want)
		}
		g.abort(nil)
	}
}

// A captured program connects to an address inside the netstack: nothing of the
// namespace has that address, and no route but the bound one leads anywhere.
//
//	app: lo, culvert0 ── netstack: 198.18.0.10:80, [fd00:198:18::7]:80 ── inside ── origin (here)
func TestBoundAddressFromNamespace(t *testing.T) {
	need.Root(t)
	need.TUN(t)
	need.IPv6(t)
	app := topology.New(t).Host("app")
	origin := peer.Serve(t, listen(t), peer.Echo())
	w := newBoundWorld(t, "198.18.0.10:80", origin.Addr())
	w.Device = fmt.Sprintf(`name: culvert0, netns: %q, addresses: [198.18.0.1/32, "fd00:198:18:1::1/128"]`, app.Path())
	s := serve(t, render(t, boundConfig, w), time.Minute)
	for _, to := range []string{"198.18.0.10:80", "[fd00:198:18::7]:80"} {
		c, err := app.Dial("tcp", to)
		if err != nil {
			t.Fatalf("%s: %v", to, err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write([]byte("through the wall")); err != nil {
			t.Error(err)
		}
		b := make([]byte, 16)
		if _, err := c.Read(b); err != nil || string(b) != "through the wall" {
			t.Errorf("%s: %q, %v", to, b, err)
		}
		_ = c.Close()
	}
	if _, err := app.Dial("tcp", "198.18.0.10:81"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a port that is not bound: %v, want refused", err)
	}
	s.counts(t, map[string]int64{"listener.envoy_internal_inside.downstream_cx_total": 2})
	// The same addresses as a tunnel's target, in the same process.
	if err := echoedByte(loopback(w.Front)); err != nil {
		t.Errorf("by a tunnel: %v", err)
	}
}

// echoedByte sends a byte and waits for it to come back.
func echoedByte(address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1))
	return err
}

// Nothing is opened for it.
func TestDeviceNoneOpensNothing(t *testing.T) {
	w := newBoundWorld(t, "198.18.0.10:80", "127.0.0.1:1")
	if s := serve(t, render(t, boundConfig, w), time.Minute); len(s.tuns) != 0 {
		t.Errorf("%d devices are open", len(s.tuns))
	}
}
