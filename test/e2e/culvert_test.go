package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"culvert/test/program"
	"culvert/test/topology"
)

// culvert is a process of the real binary, at one of the two ends.
type culvert struct {
	*program.Culvert
	t *testing.T
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

// start starts a culvert on a host and waits until it is ready.
func (w *world) start(name string, h *topology.Host, config string, args ...string) *culvert {
	w.t.Helper()
	return &culvert{t: w.t, Culvert: program.StartCulvert(w.t, program.Spec{
		Host: h, Binary: binary, Dir: w.dir, Name: name, Config: config, Args: args,
	})}
}

// in is the same process for a subtest, which then is what fails.
func (c *culvert) in(t *testing.T) *culvert { return &culvert{Culvert: c.In(t), t: t} }

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
	if err := json.Unmarshal([]byte(c.MustPage("/flows?format=json")), &page); err != nil {
		c.t.Fatalf("%s: /flows: %v", c.Name, err)
	}
	var live []flow
	for _, f := range page.Flows {
		if carrier := c.Name == "gateway" && f.Parent == 0; f.State != "ended" && !carrier {
			live = append(live, f)
		}
	}
	return live
}

// gauges count what lives as long as a flow, at either end.
func (c *culvert) gauges() []string {
	if c.Name == "gateway" {
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
	program.Eventually(c.t, soon, c.Name+" has no flow left", func() error {
		if live := c.live(); len(live) > 0 {
			return fmt.Errorf("%d live: %+v", len(live), live)
		}
		for _, name := range c.gauges() {
			if n := c.Stat(name); n != 0 {
				return fmt.Errorf("%s is %d", name, n)
			}
		}
		return nil
	})
}

// freeze stops every thread of the process, and returns when none runs: a
// signal that is sent is not yet a signal that has arrived.
func (c *culvert) freeze() {
	c.t.Helper()
	c.Signal(syscall.SIGSTOP)
	program.Eventually(c.t, soon, c.Name+" is stopped", func() error {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", c.Cmd.Process.Pid))
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
