package appliance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const fileLog = `access_log: [{name: file, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: "%s"}}]`

// observed is a tunnel whose two ends log, with an admin; one connection has
// gone through it.
func observed(t *testing.T) (w *tunnelWorld, s *served, page *directWorld) {
	t.Helper()
	w = newTunnelWorld(t)
	page = &directWorld{Admin: filepath.Join(w.dir, "admin.sock")}
	text := "admin: {address: {pipe: {path: " + page.Admin + "}}}\n" + w.config(w.origin('a'))
	for _, name := range []string{"tunnel", "gateway"} {
		prefix := "          stat_prefix: " + name + "\n"
		text = strings.Replace(text, prefix, prefix+"          "+fmt.Sprintf(fileLog, filepath.Join(w.dir, name+".log"))+"\n", 1)
	}
	s = serve(t, text, time.Minute)
	c, _, err := w.dial()
	if err != nil {
		t.Fatal(err)
	}
	if err := echoes(c); err != nil {
		t.Error(err)
	}
	_ = c.Close()
	eventually(t, "the flow ends", func() bool {
		return s.value("http.gateway.downstream_cx_upgrades_active") == 0 && s.value("tcp.tunnel.downstream_cx_total") == 1
	})
	return w, s, page
}

// N07, N08: the default line at both ends of a tunnel. What a flow has not is
// "-"; a CONNECT has no path, its authority has a port, and its bytes are the
// tunnel's payload.
func TestN07N08RecordsOfATunnel(t *testing.T) {
	w, s, _ := observed(t)
	s.drain()
	if err := s.wait(t); err != nil {
		t.Error(err)
	}
	const when, ms = `\[20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\]`, `\d+`
	for name, want := range map[string]string{
		"tunnel":  `"- - -" 0 - 12 13 ` + ms + ` - "-" "-" "-" "-" "127\.0\.0\.1:` + fmt.Sprint(w.Gateway) + `"`,
		"gateway": `"CONNECT - HTTP/2" 200 - 12 13 ` + ms + ` - "[^"]*" "-" "[0-9a-f-]{36}" "origin\.test:80" "127\.0\.0\.1:\d+"`,
	} {
		got, err := os.ReadFile(filepath.Join(w.dir, name+".log"))
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`^` + when + ` ` + want + "\n$").Match(got) {
			t.Errorf("%s: %swant %s", name, got, want)
		}
	}
}

// N09: what was counted is in /stats, in each of its forms.
func TestN09StatsOfATunnel(t *testing.T) {
	w, _, page := observed(t)
	get := func(path string) string {
		t.Helper()
		code, body, err := page.get(path)
		if err != nil || code != 200 {
			t.Fatalf("%s: %d, %v", path, code, err)
		}
		return "\n" + body
	}
	for _, want := range []string{
		"http.gateway.downstream_cx_upgrades_total: 1", "http.gateway.downstream_rq_2xx: 1", "tcp.tunnel.downstream_cx_total: 1",
		"cluster.gateway.upstream_cx_http2_total: 1", "cluster.gateway.upstream_rq_total: 1", "cluster.origin.upstream_cx_total: 1",
		"listener.127.0.0.1_" + fmt.Sprint(w.Gateway) + ".ssl.handshake: 1",
	} {
		if !strings.Contains(get("/stats?usedonly"), "\n"+want+"\n") {
			t.Errorf("no %q in /stats", want)
		}
	}
	const unused, filter = "cluster.origin.upstream_cx_connect_fail: 0\n", "cluster.origin.upstream_cx_total"
	if !strings.Contains(get("/stats"), unused) || strings.Contains(get("/stats?usedonly"), unused) {
		t.Error("usedonly: want all but what nobody used")
	}
	if got := get("/stats?filter=^" + filter + "$"); got != "\n"+filter+": 1\n" {
		t.Errorf("filter: %q", got)
	}
	var list struct {
		Stats []struct {
			Name  string
			Value int64
		}
	}
	if err := json.Unmarshal([]byte(get("/stats?format=json&filter="+filter)), &list); err != nil || len(list.Stats) != 1 || list.Stats[0].Value != 1 {
		t.Errorf("json: %+v, %v", list, err)
	}
	for _, want := range []string{
		`envoy_http_downstream_cx_upgrades_total{envoy_http_conn_manager_prefix="gateway"} 1`, `envoy_tcp_downstream_cx_total{envoy_tcp_prefix="tunnel"} 1`,
		`envoy_cluster_upstream_cx_http2_total{envoy_cluster_name="gateway"} 1`,
		`envoy_listener_downstream_cx_total{envoy_listener_address="127.0.0.1_` + fmt.Sprint(w.Front) + `"} 1`,
	} {
		if !strings.Contains(get("/stats/prometheus"), "\n"+want+"\n") {
			t.Errorf("no %q in /stats/prometheus", want)
		}
	}
}
