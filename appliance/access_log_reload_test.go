package appliance

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"culvert/configs"
	"culvert/test/ports"
)

// loggingConfig is a listener whose flows go to a file.
func loggingConfig(front int, log, more string) string {
	return fmt.Sprintf(`
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": %s
          stat_prefix: front
          http_filters: [%s]
          route_config: {virtual_hosts: [{name: any, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200}}]}]}
          access_log: [{name: f, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: %s%s}}]
`, front, hcmType, routerFilter, log, more)
}

// openHere reports whether this process has the file open.
func openHere(t *testing.T, path string) bool {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && name == path {
			return true
		}
	}
	return false
}

// The access logs of a configuration close when its last flow has ended, unless
// the next one writes to them too; those of one that was refused, at once.
func TestAccessLogsCloseWithTheirConfiguration(t *testing.T) {
	dir := t.TempDir()
	a, b, c := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
	port := ports.Free(t, 1)[0]
	s := serve(t, loggingConfig(port, a, ""), time.Minute)
	swap := func(yaml string) error { return s.Swap(t.Context(), configs.Source{YAML: yaml}) }

	if err := swap(loggingConfig(port, a, `, log_format: {text_format_source: {inline_string: "x\n"}}`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first one to end", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.draining) == 0 })
	if !openHere(t, a) {
		t.Error("a log that goes on was closed")
	}
	if err := swap(loggingConfig(port, b, "")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log of the one before to close", func() bool { return !openHere(t, a) })
	if !openHere(t, b) {
		t.Error("the current log is not open")
	}
	if err := swap(loggingConfig(port, c, "") + "  nonsense: 1\n"); err == nil {
		t.Error("a configuration with a mistake was taken")
	}
	if openHere(t, c) || !openHere(t, b) {
		t.Error("a refused configuration left its log open, or took another's with it")
	}
}
