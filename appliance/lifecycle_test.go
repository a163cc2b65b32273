package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/configs"
	"culvert/proxy/network"
	"culvert/test/leak"
	"culvert/test/peer"
	"culvert/test/ports"
)

// directTemplate is a listener, an endpoint, and an admin on a unix socket.
const directTemplate = `
admin: {address: {pipe: {path: "{{.Admin}}"}}}
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Front}}}}
    filter_chains:
    - filters:
      - name: direct
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: direct
          cluster: origin
          access_log: [{name: file, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: "{{.Log}}"}}]
  clusters:
  - name: origin
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: origin
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.Origin}}}}}}]}]
`

type directWorld struct {
	Front, Origin string // ports
	Admin, Log    string // paths
	config        string
}

func newDirectWorld(t *testing.T, h peer.Handler) *directWorld {
	t.Helper()
	dir := t.TempDir()
	w := &directWorld{Front: fmt.Sprint(ports.Free(t, 1)[0]), Admin: filepath.Join(dir, "admin.sock"), Log: filepath.Join(dir, "access.log")}
	w.Origin = portOf(peer.Serve(t, listen(t), h).Addr())
	w.config = render(t, directTemplate, w)
	return w
}

func (w *directWorld) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", "127.0.0.1:"+w.Front)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// echoes sends a line and reads it back.
func echoes(c net.Conn) error {
	const line = "all the way\n"
	if _, err := io.WriteString(c, line); err != nil {
		return err
	}
	got := make([]byte, len(line))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != line {
		return fmt.Errorf("echo %q, want %q", got, line)
	}
	return nil
}

// get reads an admin page.
func (w *directWorld) get(path string) (int, string, error) {
	c := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", w.Admin)
		},
	}, Timeout: patience}
	res, err := c.Get("http://localhost" + path)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// The order of a drain: not ready, no new connections, open flows go on and
// end, and only then Run returns.
func TestDrainOrder(t *testing.T) {
	w := newDirectWorld(t, peer.Echo())
	s := serve(t, w.config, time.Minute)
	if code, body, err := w.get("/ready"); code != http.StatusOK || body != "LIVE\n" {
		t.Fatalf("/ready %d %q %v", code, body, err)
	}
	c := w.dial(t)
	if err := echoes(c); err != nil {
		t.Fatal(err)
	}
	s.drain()
	eventually(t, "the listener is closed", func() bool {
		probe, err := net.Dial("tcp", "127.0.0.1:"+w.Front)
		if err == nil {
			_ = probe.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	code, body, err := w.get("/ready")
	if code != http.StatusServiceUnavailable || body != "DRAINING\n" {
		t.Errorf("/ready while draining: %d %q %v", code, body, err)
	}
	if err := echoes(c); err != nil {
		t.Errorf("the open flow does not go on: %v", err)
	}
	if s.ended() {
		t.Error("Run has returned before the open flow ended")
	}
	if err := c.CloseWrite(); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(c); err != nil || len(rest) != 0 {
		t.Errorf("%q, %v behind the end", rest, err)
	}
	if err := s.wait(t); err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, _, err := w.get("/ready"); err == nil {
		t.Error("the admin answers after Run has returned")
	}
	if _, err := os.Stat(w.Admin); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the admin's socket is left: %v", err)
	}
	log, err := os.ReadFile(w.Log)
	if err != nil || strings.Count(string(log), " 24 24 ") != 1 {
		t.Errorf("access log %q, %v: want one record of the flow, written when Run returns", log, err)
	}
}

// What is open when the drain time is over is aborted, told as a reset.
func TestN06DrainTimeOver(t *testing.T) {
	w := newDirectWorld(t, peer.Echo())
	s := serve(t, w.config, 50*time.Millisecond)
	c := w.dial(t)
	if err := echoes(c); err != nil {
		t.Fatal(err)
	}
	s.drain()
	if err := s.wait(t); err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !network.IsReset(err) {
		t.Errorf("the open flow ended with %v, want a reset", err)
	}
}

// Kill ends it at once, before or during a drain.
func TestKill(t *testing.T) {
	for _, draining := range []bool{false, true} {
		t.Run(fmt.Sprintf("draining %t", draining), func(t *testing.T) {
			w := newDirectWorld(t, peer.Echo())
			s := serve(t, w.config, time.Hour)
			c := w.dial(t)
			if err := echoes(c); err != nil {
				t.Fatal(err)
			}
			if draining {
				s.drain()
				eventually(t, "it drains", func() bool { return s.stateIs(stateDraining) })
				if err := echoes(c); err != nil {
					t.Errorf("the open flow does not go on: %v", err)
				}
			}
			s.kill()
			if err := s.wait(t); err != nil {
				t.Errorf("Run: %v", err)
			}
			if _, err := c.Read(make([]byte, 1)); !network.IsReset(err) {
				t.Errorf("the open flow ended with %v, want a reset", err)
			}
		})
	}
}

// A flow of a generation that was replaced has the same time to end as one of
// the last, and no more.
func TestDrainOfReplacedGenerations(t *testing.T) {
	tests := []struct {
		name      string
		drainTime time.Duration
		end       func(s *served, c net.Conn)
		reset     bool
	}{
		{"ends by itself", time.Hour, func(_ *served, c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }, false},
		{"killed", time.Hour, func(s *served, _ net.Conn) { s.kill() }, true},
		{"out of time", 300 * time.Millisecond, func(*served, net.Conn) {}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newDirectWorld(t, peer.Echo())
			s := serve(t, w.config, tt.drainTime)
			c := w.dial(t)
			if err := echoes(c); err != nil {
				t.Fatal(err)
			}
			if err := s.Swap(t.Context(), configs.Source{YAML: w.config}); err != nil {
				t.Fatal(err)
			}
			s.drain() // the current generation has no flow
			if tt.drainTime == time.Hour {
				eventually(t, "it drains", func() bool { return s.stateIs(stateDraining) })
				if err := echoes(c); err != nil {
					t.Fatal("the open flow does not go on: ", err)
				}
			}
			tt.end(s, c)
			if _, err := c.Read(make([]byte, 1)); network.IsReset(err) != tt.reset {
				t.Errorf("the open flow ended with %v, want a reset: %v", err, tt.reset)
			}
			if err := s.wait(t); err != nil {
				t.Error(err)
			}
		})
	}
}

// Twenty lives in a row, with traffic and a swap each, leave goroutines and
// descriptors as they were.
func TestLoadAndDrainCycles(t *testing.T) {
	origin := peer.Serve(t, listen(t), peer.Echo())
	cycle := func(t *testing.T) {
		w := &directWorld{Front: fmt.Sprint(ports.Free(t, 1)[0]), Origin: portOf(origin.Addr())}
		dir := t.TempDir()
		w.Admin, w.Log = filepath.Join(dir, "admin.sock"), filepath.Join(dir, "access.log")
		w.config = render(t, directTemplate, w)
		s := serve(t, w.config, time.Minute)
		for range 3 {
			c := w.dial(t)
			if err := echoes(c); err != nil {
				t.Fatal(err)
			}
			if err := s.Swap(t.Context(), configs.Source{YAML: w.config}); err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		s.drain()
		if err := s.wait(t); err != nil {
			t.Error(err)
		}
	}
	t.Run("warm", cycle)
	goroutines, files := runtime.NumGoroutine(), leak.Open()
	for i := range 20 {
		t.Run(fmt.Sprint(i), cycle)
	}
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "as many descriptors as before", func() bool { return len(leak.Open()) <= len(files) })
}

// What cannot start leaves nothing behind and says what it was.
func TestStartFails(t *testing.T) {
	w := newDirectWorld(t, peer.Echo())
	taken := listen(t)
	defer taken.Close()
	tun := func(netns string) string {
		return fmt.Sprintf(`
bootstrap_extensions:
- name: tun
  typed_config: {"@type": type.googleapis.com/culvert.v1.Tun, name: culvert0, netns: %q, addresses: [198.18.0.1/32]}
`, netns)
	}
	nowhere := filepath.Join(t.TempDir(), "no-such-netns")
	tests := []struct{ name, config, want string }{
		{"a listener's port is taken", strings.Replace(w.config, "port_value: "+w.Front, "port_value: "+portOf(taken.Addr().String()), 1),
			`listener "front": listen on ` + taken.Addr().String() + ": bind: address already in use"},
		{"the admin's port is taken", strings.Replace(w.config, fmt.Sprintf("pipe: {path: %q}", w.Admin),
			"socket_address: {address: 127.0.0.1, port_value: "+portOf(taken.Addr().String())+"}", 1),
			"admin: listen on " + taken.Addr().String() + ": bind: address already in use"},
		{"the admin's directory is missing", strings.Replace(w.config, w.Admin, "/no/such/admin.sock", 1),
			"admin: listen on /no/such/admin.sock: bind: no such file or directory"},
		{"the TUN's namespace is missing", w.config + tun(nowhere), `open TUN "culvert0": `},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := leak.Open()
			s := newServed(t, configs.Source{YAML: tt.config}, time.Hour)
			s.start(t)
			err := s.wait(t)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			eventually(t, "as many descriptors as before", func() bool { return len(leak.Open()) <= len(before) })
			c, err := net.Dial("tcp", "127.0.0.1:"+w.Front)
			if err == nil {
				_ = c.Close()
				t.Error("a listener is left open")
			}
			if _, err := os.Stat(w.Admin); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the admin's socket is left: %v", err)
			}
			select {
			case <-s.Live():
				t.Error("it said that it was live")
			default:
			}
		})
	}
}

// A device that is lost ends the process at once, although flows of other
// listeners are open and the drain time is long: to run on would look like
// capturing.
func TestLostDeviceEnds(t *testing.T) {
	w := newDirectWorld(t, peer.Echo())
	s := serve(t, w.config, time.Hour)
	c := w.dial(t)
	if err := echoes(c); err != nil {
		t.Fatal(err)
	}
	lost := &deviceLostError{"culvert0", errors.New("gone")}
	s.cannotGoOn(lost)
	s.cannotGoOn(errors.New("a second one")) // is no second end
	if err := s.wait(t); !errors.Is(err, lost) {
		t.Errorf("Run: %v, want %v", err, lost)
	}
	if _, err := c.Read(make([]byte, 1)); !network.IsReset(err) {
		t.Errorf("the open flow ended with %v, want a reset", err)
	}
}

// Whoever rotates a log moves it away and asks for a new one.
func TestReopenLogs(t *testing.T) {
	w := newDirectWorld(t, peer.Echo())
	s := serve(t, w.config, time.Minute)
	flow := func(log string) {
		t.Helper()
		c := w.dial(t)
		if err := echoes(c); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		eventually(t, "a record in "+log, func() bool {
			b, err := os.ReadFile(log)
			return err == nil && strings.Count(string(b), "\n") == 1
		})
	}
	flow(w.Log)
	if err := os.Rename(w.Log, w.Log+".1"); err != nil {
		t.Fatal(err)
	}
	if err := s.ReopenLogs(); err != nil {
		t.Fatal(err)
	}
	flow(w.Log)
	if b, err := os.ReadFile(w.Log + ".1"); err != nil || strings.Count(string(b), "\n") != 1 {
		t.Errorf("the old log holds %q, %v, want its one record", b, err)
	}
}

// A log file that cannot be written is an error of New, which opens no socket.
func TestNewFails(t *testing.T) {
	w := newDirectWorld(t, peer.Echo())
	_, err := New(configs.Source{YAML: strings.Replace(w.config, w.Log, "/no/such/access.log", 1)},
		Options{Log: slog.New(slog.DiscardHandler), Stdout: io.Discard, Stderr: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "access_log[0].typed_config.path") {
		t.Errorf("error %v", err)
	}
}
