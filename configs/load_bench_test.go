package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkLoad loads a fleet of a thousand clusters, half a megabyte.
func BenchmarkLoad(b *testing.B) {
	var text strings.Builder
	text.WriteString("static_resources:\n  clusters:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, `  - name: c%[1]d
    connect_timeout: 1s
    type: STRICT_DNS
    load_assignment:
      cluster_name: c%[1]d
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: host%[1]d.example, port_value: 443}}}
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: host%[1]d.example
        common_tls_context: {validation_context: {system_root_certs: {}}}
`, i)
	}
	path := filepath.Join(b.TempDir(), "fleet.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		if _, err := Load(Source{Path: path}); err != nil {
			b.Fatal(err)
		}
	}
}
