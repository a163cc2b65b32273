package scarcity

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/scale"
)

const (
	// files is a limit that culvert itself takes a good part of.
	files = 256
	// shortLines is how many lines its log may have of a shortage, however long.
	shortLines = 20
	// busyShare is the part of one processor that may be used for being short.
	busyShare = 0.2
)

// More tunnels than the gateway has descriptors: those beyond are told that the
// net is unreachable, the others go on, and there is room again when they end.
func TestLoadTunnelsBeyondDescriptors(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	address := w.startOrigin(80)
	gateway, capture := w.startGateway(limits{Files: files}), w.startCapture(limits{})
	w.beyond(gateway, capture, address)
}

// The same of a capture that reaches origins itself.
func TestLoadFlowsBeyondDescriptors(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	address := w.startOrigin(80)
	capture := w.startCapture(limits{Files: files, Direct: true})
	w.beyond(capture, capture, address)
}

// beyond opens more flows than short has descriptors for, twice.
func (w *world) beyond(short, capture *culvert, address string) {
	t := w.t
	t.Helper()
	const flows = 2 * files
	app := w.startApplication()
	for range 2 {
		tally := app.command("open %d %s", flows, address)
		scale.Figure(t, "%d descriptors, %d flows: %d work, %v", files, flows, tally.Done, tally.Failed)
		if refused := tally.Failed[syscall.ENETUNREACH.Error()]; tally.Done < files/4 || tally.Done+refused != flows {
			t.Errorf("%d work, the others were told %v, want %v", tally.Done, tally.Failed, syscall.ENETUNREACH)
		}
		app.must(tally.Done, "probe %d", tally.Done)
		short.isAtEase(scale.For(time.Second, 10*time.Second))
		app.command("close")
		capture.awaitNoFlows()
		short.awaitNoFlows()
	}
	app.must(files/8, "open %d %s", files/8, address)
}

// Ten times as many connections as the gateway has descriptors: it closes what is
// too many, is not busy with that, its admin answers, and flows work within a
// second of their end.
func TestLoadConnectionsBeyondDescriptors(t *testing.T) {
	need.Long(t)
	const clients = 10 * files
	w := newWorld(t)
	address := w.startOrigin(80)
	gateway, capture := w.startGateway(limits{Files: files}), w.startCapture(limits{})
	app := w.startApplication()
	app.must(1, "open 1 %s", address)
	crowd := startHelper(t, w.middle, applicationArg)
	tally := crowd.command("idle %d 127.0.0.1:8443", clients)
	scale.Figure(t, "%d descriptors, %d connections: %d made, %v, in %v", files, clients, tally.Done, tally.Failed, tally.Took)
	gateway.isAtEase(scale.For(2*time.Second, 30*time.Second))
	accepted, overflow := gateway.Stat("listener.127.0.0.1_8443.downstream_cx_active"), gateway.Stat("listener.127.0.0.1_8443.downstream_global_cx_overflow")
	scale.Figure(t, "%d are held, %d were closed", accepted, overflow)
	if accepted > files || overflow == 0 {
		t.Errorf("%d connections are held, %d were closed", accepted, overflow)
	}
	app.must(1, "probe 1") // what was there goes on
	crowd.command("close")
	began := time.Now()
	for { // no place is kept longer than its connection
		if tally := app.command("open 1 %s", address); tally.Done == 1 {
			break
		}
		if time.Since(began) > endWithin {
			t.Fatalf("no flow works %v after the crowd has left", endWithin)
		}
	}
	took := time.Since(began)
	scale.Figure(t, "a new flow worked %v after the crowd had left", took.Round(time.Millisecond))
	if scale.Full() && took > time.Second {
		t.Errorf("no flow worked for %v after the crowd had left", took)
	}
	app.command("close")
	capture.awaitNoFlows()
}

// isAtEase checks that a process that is short of something hardly works, says
// so but not often, and answers its admin.
func (c *culvert) isAtEase(d time.Duration) {
	c.t.Helper()
	before, began := c.processorTime(), time.Now()
	time.Sleep(d) // this is how long it is watched
	share := (c.processorTime() - before).Seconds() / time.Since(began).Seconds()
	lines := strings.Count(c.Log(), "level=WARN") + strings.Count(c.Log(), "level=ERROR")
	scale.Figure(c.t, "%s: %.1f %% of a processor, %d lines of complaint", c.Name, 100*share, lines)
	if share > busyShare {
		c.t.Errorf("%s uses %.2f of a processor", c.Name, share)
	}
	if lines == 0 || lines > shortLines {
		c.t.Errorf("%s: %d lines of complaint:\n%s", c.Name, lines, c.Log())
	}
	c.MustPage("/ready")
}
