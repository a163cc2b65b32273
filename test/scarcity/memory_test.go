package scarcity

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/program"
	"culvert/test/scale"
)

const (
	// memory is what each process has in all, bytes: it is judged by its peak
	// resident size, its own text included.
	memory = 128 << 20
	// heap is what a control group of that size leaves for the heap.
	heap = "102MiB"
	// slack is for a machine with too much to do, where a collection takes long;
	// at full size there is none.
	slack = 2
)

// Many more applications that ask for bytes without end and read none than there
// is memory for. Those that there is no room for are told so, what is held stays
// within bounds, and when they leave flows work as if nothing had been. The second
// time is no worse than the first.
func TestLoadStalledReceiversInLittleMemory(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	address := w.startOrigin(80)
	gateway, capture := w.startGateway(limits{Memory: heap}), w.startCapture(limits{Memory: heap})
	for range 2 {
		w.stall(capture, gateway, address)
	}
}

// The same of a capture that reaches origins itself.
func TestLoadStalledReceiversOfACaptureInLittleMemory(t *testing.T) {
	need.Long(t)
	w := newWorld(t)
	address := w.startOrigin(80)
	capture := w.startCapture(limits{Memory: heap, Direct: true})
	w.stall(capture, nil, address)
}

// stall lets receivers stall, looks at memory, and sees flows work when they
// have left. gateway may be nil.
func (w *world) stall(capture, gateway *culvert, address string) {
	t := w.t
	t.Helper()
	flows := scale.Of(300, 1000)
	app, other := w.startApplication(), w.startApplication()
	before := w.rate(other, capture, gateway, address)
	tally := app.command("stall %d %s", flows, address)
	time.Sleep(scale.For(time.Second, 20*time.Second)) // for so long nobody reads
	late := other.command("open 20 %s", address)
	scale.Figure(t, "%d stalled receivers: %d served, %v; 20 who came later: %d served, %v", flows, tally.Done, tally.Failed, late.Done, late.Failed)
	for _, told := range []tallied{{flows, tally}, {20, late}} {
		if refused := told.Failed[syscall.ENETUNREACH.Error()]; told.Done+refused != told.all {
			t.Errorf("of %d, %d were served and the others were told %v, want %v", told.all, told.Done, told.Failed, syscall.ENETUNREACH)
		}
	}
	for _, c := range []*culvert{capture, gateway} {
		if c != nil {
			c.heldLittle()
		}
	}
	app.command("close")
	other.command("close")
	awaitNoFlowsOf(capture, gateway)
	w.recovers(other, capture, gateway, address, before)
}

// tallied is how it went with all of some.
type tallied struct {
	all int
	tally
}

// heldLittle looks at the most that a process has held.
func (c *culvert) heldLittle() {
	c.t.Helper()
	peak := c.memory("VmHWM")
	scale.Figure(c.t, "%s: at most %.0f MiB resident, %.0f now; pressure %d %%, %d flows reset",
		c.Name, float64(peak)/(1<<20), float64(c.memory("VmRSS"))/(1<<20),
		c.Stat("overload.envoy.resource_monitors.fixed_heap.pressure"),
		c.Stat("overload.envoy.overload_actions.reset_high_memory_stream.count"))
	most := int64(memory)
	if !scale.Full() {
		most *= slack
	}
	if peak > most {
		c.t.Errorf("%s held %d bytes, may hold %d", c.Name, peak, most)
	}
}

// recovers sees flows work as fast as before.
func (w *world) recovers(app *helper, capture, gateway *culvert, address string, before float64) {
	w.t.Helper()
	began := time.Now()
	for app.command("open 1 %s", address).Done == 0 {
		if time.Since(began) > endWithin {
			w.t.Fatalf("no flow works %v after the stalled ones have left", endWithin)
		}
	}
	took := time.Since(began)
	app.command("close")
	for _, c := range []*culvert{capture, gateway} {
		if c != nil {
			c.awaitEase()
		}
	}
	after := w.rate(app, capture, gateway, address)
	for scale.Full() && after < fullRate*before && time.Since(began) < endWithin {
		after = w.rate(app, capture, gateway, address)
	}
	scale.Figure(w.t, "a new flow worked %v after they had left; %v later %.0f flows/s, %.0f before",
		took.Round(time.Millisecond), time.Since(began).Round(time.Second), after, before)
	if scale.Full() && after < fullRate*before {
		w.t.Errorf("%.0f flows a second work after the shortage, %.0f before it", after, before)
	}
}

// awaitEase waits until it is known that memory is free: pools keep what they
// have until the second collection.
func (c *culvert) awaitEase() {
	c.t.Helper()
	const gauge = "overload.envoy.resource_monitors.fixed_heap.pressure"
	program.Eventually(c.t, endWithin, c.Name+" has memory", func() error {
		if n := c.Stat(gauge); n >= 50 {
			return fmt.Errorf("%s is %d", gauge, n)
		}
		return nil
	})
}

// fullRate is the part of the rate before that is the same rate, on a machine with
// other things to do.
const fullRate = 0.7

// rate is the best of some at which flows are opened, used and closed.
func (w *world) rate(app *helper, capture, gateway *culvert, address string) (best float64) {
	w.t.Helper()
	const flows = 300
	for range 3 {
		took := app.must(flows, "open %d %s", flows, address)
		best = max(best, flows/took.Seconds())
		app.command("close")
		awaitNoFlowsOf(capture, gateway)
	}
	return best
}

func awaitNoFlowsOf(all ...*culvert) {
	for _, c := range all {
		if c != nil {
			c.awaitNoFlows()
		}
	}
}
