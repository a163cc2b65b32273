package appliance

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/test/peer"
	"culvert/test/ports"
)

// withMetadata has the clusters into internal listeners of a chain pass on the
// metadata that they and their endpoints have, and the listeners log what they
// got.
func withMetadata(text, log string) string {
	for _, name := range []string{"front", "inner1"} {
		cluster := "  - name: behind_" + name + "\n    type: STATIC\n"
		text = strings.Replace(text, cluster, cluster+`    metadata: {filter_metadata: {of_cluster: {name: cluster of `+name+`}}}
    transport_socket:
      name: internal_upstream
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport
        transport_socket: {name: raw, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}
        passthrough_metadata: [{kind: {cluster: {}}, name: of_cluster}, {kind: {host: {}}, name: of_host}, {kind: {host: {}}, name: nobodys}]
`, 1)
	}
	text = strings.Replace(text, "endpoints: [{lb_endpoints: [{endpoint: {address: {envoy_internal_address: {server_listener_name: inner1}}}}]}]",
		"endpoints: [{lb_endpoints: [{metadata: {filter_metadata: {of_host: {deep: {n: 7}}}}, endpoint: {address: {envoy_internal_address: {server_listener_name: inner1}}}}]}]", 1)
	for _, name := range []string{"inner1", "inner2"} {
		text = strings.Replace(text, "          stat_prefix: "+name+"\n", "          stat_prefix: "+name+`
          access_log: [{name: file, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: "`+log+`",
            log_format: {text_format_source: {inline_string: "`+name+`: %DYNAMIC_METADATA(of_cluster:name)% %DYNAMIC_METADATA(of_host:deep:n)% %DYNAMIC_METADATA(nobodys:x)% %FILTER_STATE(nobodys:PLAIN)%\n"}}}}]
`, 1)
	}
	return text
}

// K10, K16: what a configuration lets cross is what the next listener reads:
// that of its own hop, and nothing of the one before. What is not there is "-",
// and counted.
func TestK10K16MetadataOfEachHop(t *testing.T) {
	origin := peer.Serve(t, listen(t), peer.Echo())
	front := ports.Free(t, 1)[0]
	log := filepath.Join(t.TempDir(), "access.log")
	s := serve(t, withMetadata(chainConfig(t, fmt.Sprint(front), portOf(origin.Addr()), 2), log), time.Minute)
	c, err := net.Dial("tcp", loopback(front))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	if err := echoes(c); err != nil {
		t.Error(err)
	}
	_ = c.Close()
	s.drain()
	if err := s.wait(t); err != nil {
		t.Error(err)
	}
	records, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"inner1: cluster of front 7 - -\n", "inner2: cluster of inner1 - - -\n"} {
		if strings.Count(string(records), want) != 1 {
			t.Errorf("the log says\n%swant one %q", records, want)
		}
	}
	s.counts(t, map[string]int64{ // of_host and nobodys are none of the second hop's
		"cluster.behind_front.internal_upstream.no_metadata": 1, "cluster.behind_inner1.internal_upstream.no_metadata": 2,
	})
}
