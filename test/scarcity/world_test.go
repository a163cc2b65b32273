package scarcity

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/program"
	"culvert/test/topology"
)

const originAddress = "10.2.0.2"

// world is the hosts of one test, as the package's documentation draws them.
type world struct {
	t                   *testing.T
	app, middle, origin *topology.Host
	dir                 string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	need.TUN(t)
	top := topology.New(t)
	w := &world{t: t, dir: t.TempDir(), app: top.Host("app"), middle: top.Host("middle"), origin: top.Host("origin")}
	top.Link(w.middle, w.origin, "10.2.0.1/24", originAddress+"/24")
	return w
}

// limits are what a process may use. Zero: what the test itself may.
type limits struct {
	Files  int    // RLIMIT_NOFILE
	Memory string // GOMEMLIMIT
	Direct bool   // a capture that needs no gateway
	Extra  string // more of its bootstrap
}

func (w *world) startCapture(l limits) *culvert {
	w.t.Helper()
	return w.start("capture", l, settings{Dir: w.dir, Netns: w.app.Path(), Direct: l.Direct, Extra: l.Extra}.capture())
}

func (w *world) startGateway(l limits) *culvert {
	w.t.Helper()
	return w.start("gateway", l, settings{Dir: w.dir, Extra: l.Extra}.gateway())
}

// start starts a culvert in the middle, with its limits.
func (w *world) start(name string, l limits, config string) *culvert {
	w.t.Helper()
	return &culvert{t: w.t, Culvert: program.StartCulvert(w.t, program.Spec{
		Host: w.middle, Binary: w.limited(name, l), Dir: w.dir, Name: name, Config: config,
	})}
}

// limited is a program that becomes culvert, with its limits.
func (w *world) limited(name string, l limits) string {
	w.t.Helper()
	script := "#!" + need.Command(w.t, "sh") + "\n"
	if l.Files > 0 {
		script += fmt.Sprintf("ulimit -n %d || exit\n", l.Files)
	}
	if l.Memory != "" {
		script += fmt.Sprintf("export GOMEMLIMIT=%s\n", l.Memory)
	}
	script += fmt.Sprintf("exec %s \"$@\"\n", binary)
	path := filepath.Join(w.dir, name+".sh")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// culvert is a process of the real binary.
type culvert struct {
	*program.Culvert
	t *testing.T
}

// memory is a line of the process's status in bytes: VmRSS is what it holds,
// VmHWM the most it ever held.
func (c *culvert) memory(line string) int64 {
	c.t.Helper()
	path := fmt.Sprintf("/proc/%d/status", c.Cmd.Process.Pid)
	text, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(l, line+":"); ok {
			kB, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				c.t.Fatalf("%s: %v", l, err)
			}
			return kB << 10
		}
	}
	c.t.Fatalf("%s: no %s", path, line)
	return 0
}

// processorTime is what the process has used so far.
func (c *culvert) processorTime() time.Duration {
	c.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Cmd.Process.Pid))
	if err != nil {
		c.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name
	fields := strings.Fields(rest)
	ticks := int64(0)
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			c.t.Fatal(err)
		}
		ticks += n
	}
	const perSecond = 100 // USER_HZ, the same on every Linux that Go runs on
	return time.Duration(ticks) * time.Second / perSecond
}

// endWithin is how long flows may take to be gone everywhere.
const endWithin = 30 * time.Second

// awaitNoFlows waits until nothing is left of any flow.
func (c *culvert) awaitNoFlows() {
	c.t.Helper()
	gauges := []string{"tun.culvert0.flows", "tun.culvert0.pending"}
	if c.Name == "gateway" {
		gauges = []string{"http.gateway.downstream_rq_active", "cluster.destination.upstream_cx_active"}
	}
	program.Eventually(c.t, endWithin, c.Name+" has no flow left", func() error {
		for _, name := range gauges {
			if n := c.Stat(name); n != 0 {
				return fmt.Errorf("%s is %d", name, n)
			}
		}
		return nil
	})
}
