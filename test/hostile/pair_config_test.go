package hostile

import (
	"strings"
	"text/template"

	"culvert/proxy/network"
)

// way is how flows go from the near culvert to the far one, or straight to the
// origin; each has a listener of the near culvert.
type way struct {
	name    string
	address string // of the listener
	buffers int64  // what each stalled flow may cost both culverts in memory of theirs, bytes
}

// streamWindow is what is configured as initial_stream_window_size on both sides,
// bytes, and manyStreams how many streams a connection takes where there are to
// be many connections.
const (
	streamWindow = 128 << 10
	manyStreams  = 10
)

// Bounds of a stalled flow's parts, bytes.
const (
	chunkBound = network.ChunkLarge // what is on its way to an end that takes no more
	fixedBound = 32 << 10           // stacks, and what describes the flow
)

// hugeBound is what the few huge chunks cost a process, whoever has them; bytes.
const hugeBound = 64 * network.ChunkHuge

func ways() []way {
	// At the receiving end of a stream its window waits in buffers that are half
	// full at least, and a chunk is on its way; at the sending end another.
	streams := int64(2*streamWindow + 2*chunkBound + 2*fixedBound)
	// Bytes between sockets stay in the kernel, or a chunk is on its way at each
	// end where it has no pipe to spare.
	return []way{
		{"HTTP/2 CONNECT, one connection", "127.0.0.1:7001", streams},
		{"HTTP/2 CONNECT, many connections", "127.0.0.1:7002", streams},
		{"HTTP/1.1 CONNECT", "127.0.0.1:7003", 2 * (chunkBound + fixedBound)},
		{"plain TCP", "127.0.0.1:7004", chunkBound + fixedBound},
	}
}

// flowOrigin is where all these flows lead.
const flowOrigin = "127.0.0.1:9100"

func nearConfig(dir string) string { return render(nearTemplate, dir) }
func farConfig(dir string) string  { return render(farTemplate, dir) }

func render(text, dir string) string {
	var b strings.Builder
	data := map[string]any{"Dir": dir, "Origin": flowOrigin, "Window": streamWindow, "Many": manyStreams}
	if err := template.Must(template.New("").Parse(text)).Execute(&b, data); err != nil {
		panic(err) // a template of this file with data of this file
	}
	return b.String()
}

const nearTemplate = `
{{define "listener"}}
  - name: port{{.}}
    address: {socket_address: {address: 127.0.0.1, port_value: {{.}}}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: port{{.}}
{{- end}}
admin:
  address: {pipe: {path: "{{.Dir}}/near.sock"}}
static_resources:
  listeners:
  {{- template "listener" 7001}}
          cluster: one
          tunneling_config: {hostname: "{{.Origin}}"}
  {{- template "listener" 7002}}
          cluster: many
          tunneling_config: {hostname: "{{.Origin}}"}
  {{- template "listener" 7003}}
          cluster: http1
          tunneling_config: {hostname: "{{.Origin}}"}
  {{- template "listener" 7004}}
          cluster: straight
  clusters:
  - name: one
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {initial_stream_window_size: {{.Window}}}}
    load_assignment:
      cluster_name: one
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8080}}}
  - name: many
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {initial_stream_window_size: {{.Window}}, max_concurrent_streams: {{.Many}}}}
    load_assignment:
      cluster_name: many
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8080}}}
  - name: http1
    type: STATIC
    load_assignment:
      cluster_name: http1
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8080}}}
  - name: straight
    type: STATIC
    load_assignment:
      cluster_name: straight
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 9100}}}
`

const farTemplate = `
admin:
  address: {pipe: {path: "{{.Dir}}/far.sock"}}
static_resources:
  listeners:
  - name: far
    address: {socket_address: {address: 127.0.0.1, port_value: 8080}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: far
          http2_protocol_options: {initial_stream_window_size: {{.Window}}}
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
  clusters:
  - name: destination
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    original_dst_lb_config: {use_http_header: true, http_header_name: ":authority"}
`
