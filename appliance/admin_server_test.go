package appliance

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/appliance/admin"
	"culvert/configs"
	"culvert/test/peer"
)

// The admin of a running appliance: private from its first moment, live bytes,
// listeners where they are, and what the process says of itself.
func TestAdminOfRunning(t *testing.T) {
	w := newDirectWorld(t, peer.Echo())
	s := serve(t, w.config, time.Minute)
	info, err := os.Lstat(w.Admin)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, %v, want a socket with 0600", info.Mode(), err)
	}
	c := w.dial(t)
	if err := echoes(c); err != nil {
		t.Fatal(err)
	}
	if _, body, err := w.get("/listeners"); err != nil || body != "front::127.0.0.1:"+w.Front+"\n" {
		t.Errorf("/listeners %q, %v", body, err)
	}
	flow := func() admin.FlowStatus {
		t.Helper()
		_, body, err := w.get("/flows?format=json")
		var page struct{ Flows []admin.FlowStatus }
		if err != nil || json.Unmarshal([]byte(body), &page) != nil || len(page.Flows) != 1 {
			t.Fatalf("/flows %q, %v", body, err)
		}
		return page.Flows[0]
	}
	moved := func(n uint64) { // bytes may be counted behind their arrival
		eventually(t, fmt.Sprintf("%d bytes each way", n), func() bool { f := flow(); return f.Received == n && f.Sent == n })
	}
	moved(12)
	if f := flow(); f.State != "open" || f.Verdict != "accepted" {
		t.Errorf("flow %+v", f)
	}
	if err := echoes(c); err != nil {
		t.Fatal(err)
	}
	moved(24)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "the flow ends", func() bool { return s.flows.Len() == 0 })
	if ended := flow(); ended.State != "ended" || ended.Steps[len(ended.Steps)-1].Name != "ended" {
		t.Errorf("flow %+v", ended)
	}
	eventually(t, "its record is written", func() bool { return s.value("filesystem.write_completed") == 1 })
	_, body, err := w.get("/stats")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"server.live: 1", "server.state: 0", "server.total_connections: 0", "server.uptime: ", "server.concurrency: ",
		"server.version: " + fmt.Sprint(0x306942), "server.memory_allocated: ", "server.memory_heap_size: ", "server.goroutines: ",
		"server.initialization_time_ms: ", "server.config_replaced: 0", "server.config_rejected: 0",
		"listener_manager.listener_added: 1", "listener_manager.total_listeners_active: 1", "listener_manager.total_listeners_draining: 0",
		"listener_manager.workers_started: 1", "cluster_manager.cluster_added: 1", "cluster_manager.active_clusters: 1",
		"filesystem.write_buffered: 1", "filesystem.write_completed: 1", "filesystem.write_failed: 0", "filesystem.write_dropped: 0", "filesystem.reopen_failed: 0",
		"listener.127.0.0.1_" + w.Front + ".downstream_cx_total: 1", "tcp.direct.downstream_cx_total: 1",
	} {
		if !strings.Contains("\n"+body, "\n"+want) {
			t.Errorf("no %q in /stats", want)
		}
	}
}

// A listener that leaves its port to the kernel is shown where it is; the
// number of open connections follows them.
func TestListenersShowTheirPort(t *testing.T) {
	w := newDirectWorld(t, peer.Echo())
	s := serve(t, strings.Replace(w.config, "port_value: "+w.Front, "port_value: 0", 1), time.Minute)
	_, w.Front, _ = strings.Cut(s.listenerStatus()[0].Address, "127.0.0.1:")
	c := w.dial(t)
	if err := echoes(c); err != nil {
		t.Fatal(err)
	}
	s.counts(t, map[string]int64{"server.total_connections": 1})
}

// The admin's socket of a process that was killed is taken over; that of one
// that runs is not.
func TestAdminSocketLeftBehind(t *testing.T) {
	w := newDirectWorld(t, peer.Echo())
	s := serve(t, w.config, time.Minute)
	other := newServed(t, configs.Source{YAML: strings.Replace(w.config, "port_value: "+w.Front, "port_value: 0", 1)}, time.Minute)
	other.start(t)
	if err := other.wait(t); err == nil || !strings.Contains(err.Error(), "admin: listen on "+w.Admin+": bind: address already in use") {
		t.Errorf("a second one on the same socket: %v", err)
	}
	if code, _, err := w.get("/ready"); code != http.StatusOK {
		t.Errorf("the first one's admin is gone: %v", err)
	}
	// What a kill -9 leaves: the file, and nobody behind it.
	left := filepath.Join(t.TempDir(), "left.sock")
	if err := os.Link(w.Admin, left); err != nil {
		t.Fatal(err)
	}
	s.drain()
	if err := s.wait(t); err != nil {
		t.Error(err)
	}
	w.config = strings.Replace(w.config, w.Admin, left, 1)
	w.Admin = left
	serve(t, w.config, time.Minute)
	if code, _, err := w.get("/ready"); code != http.StatusOK {
		t.Errorf("the admin is not on the socket that was left: %v", err)
	}
}

func TestRevisionNumber(t *testing.T) {
	for version, want := range map[string]int64{
		"306942e": 0x306942, "306942e-dirty": 0x306942, "v1.2.0-3-g306942e": 0x306942, "v1.2.0-3-g306942e-dirty": 0x306942,
		"v1.2.0": 0, "devel": 0, "": 0,
	} {
		if got := revisionNumber(version); got != want {
			t.Errorf("%q is %#x, want %#x", version, got, want)
		}
	}
}
