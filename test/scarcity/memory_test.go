package scarcity

import (
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/scale"
)

// Very many applications that ask for bytes without end and read none, while the
// runtime is told that memory is little. Others are served meanwhile, all of it is
// over when they leave, and the same again takes no more memory than before.
func TestLoadStalledReceiversInLittleMemory(t *testing.T) {
	need.Long(t)
	const others = 10
	flows := scale.Of(100, 1000)
	w := newWorld(t)
	address := w.startOrigin(80)
	gateway, capture := w.startGateway(limits{Memory: "128MiB"}), w.startCapture(limits{Memory: "128MiB"})
	app, other := w.startApplication(), w.startApplication()
	peaks := map[*culvert]int64{}
	for range 2 {
		tally := app.command("stall %d %s", flows, address)
		time.Sleep(scale.For(time.Second, 20*time.Second)) // for so long nobody reads
		other.must(others, "open %d %s", others, address)
		other.must(others, "probe %d", others)
		scale.Figure(t, "%d of %d stalled receivers served, %v", tally.Done, flows, tally.Failed)
		for _, c := range []*culvert{capture, gateway} {
			peak, before := c.memory("VmHWM"), peaks[c]
			peaks[c] = peak
			scale.Figure(t, "%s: at most %.0f MiB, %.0f KiB a receiver", c.Name,
				float64(peak)/(1<<20), float64(peak)/1024/float64(max(tally.Done, 1)))
			if before > 0 && peak > 2*before {
				t.Errorf("%s: %d bytes at most, %d the first time", c.Name, peak, before)
			}
		}
		app.command("close")
		other.command("close")
		capture.awaitNoFlows()
		gateway.awaitNoFlows()
	}
}
