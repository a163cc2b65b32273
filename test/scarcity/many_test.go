package scarcity

import (
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/scale"
)

// What an idle flow may hold at each end, bytes of resident memory.
const (
	capturedFlowBound = 24 << 10
	tunnelBound       = 12 << 10
)

// Very many captured flows through HTTP/2 to real sockets: each is answered,
// waits, and is answered again; what they hold is little, and is given back.
func TestLoadIdleFlows(t *testing.T) {
	need.Long(t)
	const warmUp = 100 // flows that fill what is made once
	flows := scale.Of(1000, 10000)
	need.OpenFiles(t, uint64(flows)+500) // of each program
	w := newWorld(t)
	address := w.startOrigin(80)
	gateway, capture := w.startGateway(limits{}), w.startCapture(limits{})
	app := w.startApplication()
	app.must(warmUp, "open %d %s", warmUp, address)
	before := [...]int64{capture.memory("VmRSS"), gateway.memory("VmRSS")}

	took := app.must(flows, "open %d %s", flows, address)
	connections := gateway.Stat("http.gateway.downstream_cx_active")
	scale.Figure(t, "%d flows opened in %v over %d connections", flows, took.Round(time.Millisecond), connections)
	perFlow := func(c *culvert, before int64) int64 { return (c.memory("VmRSS") - before) / int64(flows) }
	ofCapture, ofGateway := perFlow(capture, before[0]), perFlow(gateway, before[1])
	scale.Figure(t, "resident memory of a flow just opened: %d bytes at the capture, %d at the gateway", ofCapture, ofGateway)
	if scale.Full() {
		// what opening them took is given back once the process is idle
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && (ofCapture > capturedFlowBound || ofGateway > tunnelBound); {
			time.Sleep(time.Second)
			ofCapture, ofGateway = perFlow(capture, before[0]), perFlow(gateway, before[1])
		}
		scale.Figure(t, "resident memory of an idle flow: %d bytes at the capture, %d at the gateway", ofCapture, ofGateway)
		if ofCapture > capturedFlowBound {
			t.Errorf("%d bytes for each captured flow, at most %d", ofCapture, capturedFlowBound)
		}
		if ofGateway > tunnelBound {
			t.Errorf("%d bytes for each tunnel, at most %d", ofGateway, tunnelBound)
		}
	}
	app.must(flows/10, "probe %d", flows/10)
	app.command("close")
	capture.awaitNoFlows()
	gateway.awaitNoFlows()
	app.must(10, "open 10 %s", address)
}
