package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"culvert/test/topology"
)

const (
	readyWithin = 20 * time.Second
	adminWithin = 5 * time.Second
	adminBytes  = 8 << 20
	logBytes    = 64 << 10
)

// culvert is a process of the real binary.
type culvert struct {
	t      *testing.T
	name   string
	config string // path
	cmd    *topology.Cmd
	log    *tail
	admin  *http.Client
	exited chan struct{} // closed when it has ended
}

// startGateway starts the terminating end on the gateway.
func (w *world) startGateway(args ...string) *culvert {
	w.t.Helper()
	return w.start("gateway", w.gateway, w.gatewayConfig().yaml(), args...)
}

// startCapture starts the capturing end on the client, with its TUN in the app.
func (w *world) startCapture(args ...string) *culvert {
	w.t.Helper()
	return w.start("capture", w.client, w.captureConfig().yaml(), args...)
}

func (w *world) gatewayConfig() gatewayConfig {
	return gatewayConfig{Dir: w.dir, Log: "gateway.log"}
}

func (w *world) captureConfig() captureConfig {
	return captureConfig{Dir: w.dir, Netns: w.app.Path(), Gateway: gatewayAddress, Log: "capture.log"}
}

// start starts a culvert on a host and waits until it is ready. Its log is part
// of a failed test's output.
func (w *world) start(name string, h *topology.Host, config string, args ...string) *culvert {
	w.t.Helper()
	c := &culvert{
		t: w.t, name: name, log: &tail{}, exited: make(chan struct{}),
		config: w.write(name+".yaml", []byte(config)), admin: unixClient(w.file(name + ".sock")),
	}
	c.cmd = h.Command(binary, append([]string{"-c", c.config}, args...)...)
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	w.t.Cleanup(c.report) // runs after the kill that Start registers
	if err := c.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { // ends with the process
		_ = c.cmd.Wait()
		close(c.exited)
	}()
	c.awaitReady()
	return c
}

// in is the same process for a subtest, which then is what fails.
func (c *culvert) in(t *testing.T) *culvert {
	same := *c
	same.t = t
	return &same
}

// report notices what no test asks for: a crash or a race.
func (c *culvert) report() {
	log := c.log.text()
	for _, sign := range []string{"panic:", "fatal error:", "DATA RACE"} {
		if strings.Contains(log, sign) {
			c.t.Errorf("%s: its log has %q", c.name, sign)
		}
	}
	if c.t.Failed() {
		c.t.Logf("log of %s:\n%s", c.name, log)
	}
}

func (c *culvert) awaitReady() {
	c.t.Helper()
	eventually(c.t, readyWithin, c.name+" is ready", func() error {
		if c.hasExited() {
			c.t.Fatalf("%s ended before it was ready", c.name)
		}
		_, err := c.page("/ready")
		return err
	})
}

func (c *culvert) hasExited() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// page reads an admin page.
func (c *culvert) page(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), adminWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return "", err
	}
	res, err := c.admin.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, adminBytes))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, res.Status, body)
	}
	return string(body), err
}

func (c *culvert) mustPage(path string) string {
	c.t.Helper()
	page, err := c.page(path)
	if err != nil {
		c.t.Fatalf("%s: %v", c.name, err)
	}
	return page
}

// flow is what the tests read of one flow in /flows.
type flow struct {
	Parent      uint64 `json:"parent"`
	State       string `json:"state"`
	Source      string `json:"source"`
	Destination string `json:"destination"`
	Verdict     string `json:"verdict"`
	Received    uint64 `json:"bytes_received"`
	Sent        uint64 `json:"bytes_sent"`
	Flags       string `json:"response_flags"`
	Cause       string `json:"cause"`
}

// live lists the flows that have not ended, without the gateway's own
// connections, which carry them.
func (c *culvert) live() []flow {
	c.t.Helper()
	var page struct{ Flows []flow }
	if err := json.Unmarshal([]byte(c.mustPage("/flows?format=json")), &page); err != nil {
		c.t.Fatalf("%s: /flows: %v", c.name, err)
	}
	var live []flow
	for _, f := range page.Flows {
		if carrier := c.name == "gateway" && f.Parent == 0; f.State != "ended" && !carrier {
			live = append(live, f)
		}
	}
	return live
}

// stat is a counter or gauge by its full name.
func (c *culvert) stat(name string) int64 {
	c.t.Helper()
	for line := range strings.Lines(c.mustPage("/stats")) {
		if rest, ok := strings.CutPrefix(line, name+": "); ok {
			var n int64
			if _, err := fmt.Sscan(rest, &n); err != nil {
				c.t.Fatalf("%s: %s: %v", c.name, line, err)
			}
			return n
		}
	}
	c.t.Fatalf("%s: there is no %s", c.name, name)
	return 0
}

// gauges count what lives as long as a flow, at either end.
func (c *culvert) gauges() []string {
	if c.name == "gateway" {
		return []string{
			"http.gateway.downstream_rq_active", "http.gateway.downstream_cx_upgrades_active",
			"cluster.destination.upstream_cx_active", "http2.streams_active",
		}
	}
	return []string{
		"tun.culvert0.flows", "tun.culvert0.pending", "listener.envoy_internal_capture.downstream_cx_active",
		"cluster.gateway.upstream_rq_active", "cluster.gateway.http2.streams_active",
	}
}

// awaitNoFlows waits until nothing is left of any flow, in the table and in the
// gauges.
func (c *culvert) awaitNoFlows() {
	c.t.Helper()
	const within = 5 * time.Second
	eventually(c.t, within, c.name+" has no flow left", func() error {
		if live := c.live(); len(live) > 0 {
			return fmt.Errorf("%d live: %+v", len(live), live)
		}
		for _, name := range c.gauges() {
			if n := c.stat(name); n != 0 {
				return fmt.Errorf("%s is %d", name, n)
			}
		}
		return nil
	})
}

func (c *culvert) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatalf("%s: signal %v: %v", c.name, s, err)
	}
}

// freeze stops every thread of the process, and returns when none runs: a
// signal that is sent is not yet a signal that has arrived.
func (c *culvert) freeze() {
	c.t.Helper()
	c.signal(syscall.SIGSTOP)
	eventually(c.t, soon, c.name+" is stopped", func() error {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", c.cmd.Process.Pid))
		if err != nil {
			return err
		}
		for _, stat := range stats {
			text, err := os.ReadFile(stat)
			if err != nil {
				return err
			}
			if _, rest, _ := strings.Cut(string(text), ") "); !strings.HasPrefix(rest, "T") {
				return fmt.Errorf("%s: %.1s", stat, rest)
			}
		}
		return nil
	})
}

// kill is kill -9; it returns when the process is gone.
func (c *culvert) kill() {
	c.t.Helper()
	c.signal(syscall.SIGKILL)
	<-c.exited
}

// exitsWithin waits for the end and returns the exit code.
func (c *culvert) exitsWithin(d time.Duration) int {
	c.t.Helper()
	select {
	case <-c.exited:
	case <-time.After(d):
		c.t.Fatalf("%s still runs after %v", c.name, d)
	}
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatalf("%s: %v", c.name, err)
	}
	return c.cmd.ProcessState.ExitCode()
}

// configure writes another configuration where the process will read it.
func (c *culvert) configure(config string) {
	c.t.Helper()
	if err := os.WriteFile(c.config, []byte(config), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// awaitLog waits for a text in the log.
func (c *culvert) awaitLog(within time.Duration, texts ...string) {
	c.t.Helper()
	eventually(c.t, within, c.name+" logs it", func() error {
		for _, text := range texts {
			if !strings.Contains(c.log.text(), text) {
				return fmt.Errorf("no %q in the log", text)
			}
		}
		return nil
	})
}

func unixClient(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
}

// tail keeps the end of what a process says.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(b)
	if over := l.buf.Len() - logBytes; over > 0 {
		l.buf.Next(over)
	}
	return len(b), nil
}

func (l *tail) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
