package admin

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"culvert/configs"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/proto"
)

// secretive has a secret in every place that a configuration may have one; each
// begins with hush.
const secretive = `
node: {id: here}
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: 1}}
    filter_chains:
    - filters:
      - name: web
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            name: all
            request_headers_to_add: [{header: {key: Authorization, value: hush-route}}, {header: {key: x-shown, value: shown-route}}]
            virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: plain}}]}]
          http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          session_ticket_keys: {keys: [{inline_string: hush-ticket}, {inline_bytes: aHVzaC10aWNrZXQ=}]}
          common_tls_context:
            tls_certificates:
            - certificate_chain: {inline_string: shown-chain}
              private_key: {inline_string: hush-key}
              password: {inline_string: hush-password}
            - certificate_chain: {filename: /shown-file}
              private_key: {inline_bytes: aHVzaC1rZXk=}
    - name: tunnel
      filters:
      - name: tunnel
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tunnel
          cluster: plain
          tunneling_config:
            hostname: shown:1
            headers_to_add: [{header: {key: proxy-authorization, value: "Basic hush-basic"}}, {header: {key: x-api-key, value: hush-api}}]
  clusters:
  - {name: plain, type: STATIC}
  - name: secure
    type: STATIC
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: shown-sni
        common_tls_context: {tls_certificates: [{certificate_chain: {inline_string: c}, private_key: {environment_variable: hush-variable}}]}
`

func dumpRig(t *testing.T) (*rig, *bootstrapv3.Bootstrap) {
	t.Helper()
	doc, err := configs.Load(configs.Source{YAML: secretive})
	if err != nil {
		t.Fatal(err)
	}
	return newRig(func(d *Deps) {
		d.Config = func() (*bootstrapv3.Bootstrap, time.Time) { return doc.Bootstrap, time.Unix(1700000000, 0) }
		d.Process = Process{Version: "v1", Began: time.Now(), ConfigPath: "/etc/culvert.yaml", DrainTime: time.Minute}
	}), doc.Bootstrap
}

// No secret is shown, in the text or behind base64, and the configuration that
// runs keeps them.
func TestConfigDumpKeepsSecrets(t *testing.T) {
	r, running := dumpRig(t)
	before := proto.CloneOf(running)
	w := r.get("/config_dump")
	body := w.Body.String()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s", w.Code, body)
	}
	for _, secret := range []string{"hush", "aHVza"} {
		if i := strings.Index(body, secret); i >= 0 {
			t.Errorf("shown: %s", body[max(0, i-200):min(len(body), i+50)])
		}
	}
	for _, want := range []string{
		"shown-route", "shown-chain", "/shown-file", "shown:1", "shown-sni", `"private_key"`, `"session_ticket_keys"`,
		`"inline_string": "[redacted]"`, `"inline_bytes": "W3JlZGFjdGVkXQ=="`, `"last_updated": "2023-11-14T22:13:20Z"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in the dump", want)
		}
	}
	if !proto.Equal(before, running) {
		t.Error("the running configuration has changed")
	}
}

func TestConfigDumpParts(t *testing.T) {
	const pkg = "type.googleapis.com/envoy.admin.v3."
	tests := []struct {
		query string
		code  int
		want  []string // of an answer: the types; else the text
		has   string
		lacks string
	}{
		{"", 200, []string{pkg + "BootstrapConfigDump", pkg + "ClustersConfigDump", pkg + "ListenersConfigDump", pkg + "RoutesConfigDump"}, `"name": "secure"`, ""},
		{"resource=static_clusters", 200, []string{pkg + "ClustersConfigDump.StaticCluster", pkg + "ClustersConfigDump.StaticCluster"}, "plain", "front"},
		{"resource=static_listeners", 200, []string{pkg + "ListenersConfigDump.StaticListener"}, "front", `"name": "secure"`},
		{"resource=static_route_configs", 200, []string{pkg + "RoutesConfigDump.StaticRouteConfig"}, `"name": "all"`, "front"},
		{"resource=dynamic_listeners", 200, nil, "{}", "front"},
		{"resource=static_clusters&name_regex=sec.*", 200, []string{pkg + "ClustersConfigDump.StaticCluster"}, "secure", "plain"},
		{"resource=static_clusters&name_regex=sec", 200, nil, "{}", "secure"},
		{"resource=static_clusters&mask=cluster.name", 200, []string{pkg + "ClustersConfigDump.StaticCluster", pkg + "ClustersConfigDump.StaticCluster"}, `"name": "secure"`, "transport_socket"},
		{"mask=bootstrap.node", 200, []string{pkg + "BootstrapConfigDump"}, `"id": "here"`, "secure"},
		{"resource=nothing", 404, []string{"nothing not found in config dump\n"}, "", ""},
		{"resource=bootstrap", 400, []string{"bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field\n"}, "", ""},
		{"mask=nothing", 400, []string{"mask nothing names no field of what is dumped\n"}, "", ""},
		{"name_regex=(", 400, []string{"name_regex: error parsing regexp: missing closing ): `^(?:()$`\n"}, "", ""},
	}
	r, _ := dumpRig(t)
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			q, err := url.ParseQuery(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			w := r.get("/config_dump?" + q.Encode())
			if w.Code != tt.code {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if tt.code != 200 {
				if w.Body.String() != tt.want[0] {
					t.Errorf("%q, want %q", w.Body, tt.want[0])
				}
				return
			}
			var page struct {
				Configs []struct {
					Type string `json:"@type"`
				}
			}
			body := w.Body.String()
			if err := json.Unmarshal([]byte(body), &page); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range page.Configs {
				got = append(got, c.Type)
			}
			if strings.Join(got, " ") != strings.Join(tt.want, " ") {
				t.Errorf("parts %q, want %q", got, tt.want)
			}
			if !strings.Contains(body, tt.has) || tt.lacks != "" && strings.Contains(body, tt.lacks) {
				t.Errorf("%s\nwant %s and not %s", body, tt.has, tt.lacks)
			}
		})
	}
}

func TestServerInfo(t *testing.T) {
	r, _ := dumpRig(t)
	for state, want := range map[string]string{"LIVE": "", "DRAINING": "DRAINING", "INITIALIZING": "INITIALIZING"} {
		r.state = state
		var got struct {
			Version, State string
			Options        struct {
				ConfigPath string `json:"config_path"`
				DrainTime  string `json:"drain_time"`
				LogLevel   string `json:"log_level"`
			} `json:"command_line_options"`
			Node struct{ ID string }
		}
		w := r.get("/server_info")
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Version != "v1" || got.State != want || got.Node.ID != "here" || got.Options.ConfigPath != "/etc/culvert.yaml" ||
			got.Options.DrainTime != "60s" || got.Options.LogLevel != "info" {
			t.Errorf("%s: %+v", state, got)
		}
	}
}

func TestMemory(t *testing.T) {
	var got struct {
		Allocated string
		HeapSize  string `json:"heap_size"`
		Physical  string `json:"total_physical_bytes"`
	}
	w := newRig().get("/memory")
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Allocated == "" || got.HeapSize == "" || got.Physical == "" {
		t.Errorf("%s, %v", w.Body, err)
	}
}
