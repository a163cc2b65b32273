package appliance

import (
	"io"
	"strings"
	"testing"
	"time"

	"culvert/configs"
	"culvert/proxy/network"
	"culvert/test/ports"
)

// missingConfig is HTTP into an internal listener that nothing defines, raw and
// by HTTP, without so much as the bootstrap extension.
const missingConfig = `
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Front}}}}
    filter_chains: [{filters: [{name: hcm, typed_config: {"@type": {{.HCM}}, stat_prefix: front, codec_type: HTTP2, http_filters: [{{.Router}}],
      route_config: {virtual_hosts: [{name: any, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: nobody}}]}]}}}]}]
  - name: raw
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Raw}}}}
    filter_chains: [{filters: [{name: tcp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy,
      stat_prefix: raw, cluster: nobody}}]}]
  clusters:
  - name: nobody
    type: STATIC
    connect_timeout: 600s
    typed_extension_protocol_options: {{.HTTP2}}
    load_assignment: {cluster_name: nobody, endpoints: [{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {server_listener_name: nobody}}}}]}]}
`

// K05: what is not there fails at once, not when its cluster's connect timeout
// is over, as a connection that could not be made: without the bootstrap
// extension, and without the listener.
func TestK05NobodyInside(t *testing.T) {
	for name, extension := range map[string]string{"K05 no extension": "", "K05 no listener": "bootstrap_extensions:" + internalExtension} {
		t.Run(name, func(t *testing.T) {
			p := ports.Free(t, 2)
			s := serve(t, extension+render(t, missingConfig, map[string]any{
				"Front": p[0], "Raw": p[1], "HCM": hcmType, "Router": routerFilter, "HTTP2": http2Options,
			}), time.Minute)
			status, body := getOnce(t, p[0])
			if status != 503 || !strings.HasPrefix(body, "upstream connect error or disconnect/reset before headers.") {
				t.Errorf("a request: %d %q", status, body)
			}
			if err := connectAndRead(loopback(p[1])); !network.IsReset(err) {
				t.Errorf("a connection: %v, want a reset", err)
			}
			s.counts(t, map[string]int64{"cluster.nobody.upstream_cx_connect_fail": 2})
			eventually(t, "the flows end", func() bool { return s.flows.Len() == 0 })
			for _, info := range s.flows.Ended() {
				if snap := info.Snapshot(); snap.Cause != "" && !strings.Contains(snap.Flags.String(), "UF") {
					t.Errorf("%s: flags %v, cause %q", snap.Listener, snap.Flags, snap.Cause)
				}
			}
		})
	}
}

// getOnce asks the listener at port, over HTTP/2 in the clear.
func getOnce(t *testing.T, port int) (status int, body string) {
	t.Helper()
	client := http2Client()
	defer client.CloseIdleConnections()
	res, err := client.Get("http://" + loopback(port) + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// K04: requests into a listener that a reload has taken away are 503, and are
// served again by the one that takes its place.
func TestK04RequestsIntoRemovedListener(t *testing.T) {
	p := ports.Free(t, 2)
	text := render(t, httpChain, map[string]any{
		"KB": 64, "Front": p[0], "Gateway": p[1], "Origin": echoHTTP2(t), "HCM": hcmType, "Router": routerFilter, "HTTP2": http2Options,
	})
	gone := strings.Replace(text, "- name: inner\n    internal_listener", "- name: renamed\n    internal_listener", 1)
	s := serve(t, text, time.Minute)
	for i, c := range []struct {
		yaml string
		want int
	}{{"", 200}, {gone, 503}, {text, 200}} {
		if c.yaml != "" {
			if err := s.Swap(t.Context(), configs.Source{YAML: c.yaml}); err != nil {
				t.Fatal(err)
			}
		}
		if status, body := getOnce(t, p[0]); status != c.want {
			t.Errorf("step %d: %d %q, want %d", i, status, body, c.want)
		}
	}
	s.counts(t, map[string]int64{"cluster.inner.upstream_cx_connect_fail": 1})
}
