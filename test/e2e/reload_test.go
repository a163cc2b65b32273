package e2e

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"culvert/test/peer"
	"culvert/test/program"
)

// SIGHUP replaces the configuration, or changes nothing; a live transfer never
// notices. In which configuration a flow lives shows in whose access log it
// ends.
func TestReloadHup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	capture, gateway := w.startBoth()
	echo := net.JoinHostPort(origin4, "80")
	peer.Serve(t, w.origin.Listen("tcp", echo), peer.Echo())
	live := startTransfer(t, openFlow(t, w, echo))
	live.moves()

	newCapture, newGateway := w.captureConfig(), w.gatewayConfig()
	newCapture.Log, newGateway.Log = "capture-2.log", "gateway-2.log"
	for _, c := range []struct {
		process *culvert
		config  string
	}{{capture, newCapture.yaml()}, {gateway, newGateway.yaml()}} {
		c.process.Configure(c.config)
		c.process.Signal(syscall.SIGHUP)
		c.process.AwaitLog(exitWithin, "configuration replaced")
		live.moves()
	}
	shortFlow(t, w, echo)
	awaitRecords(t, w, "capture-2.log", 1)
	awaitRecords(t, w, "gateway-2.log", 1)

	// What cannot be used is said to be so, with its place, and is not used.
	for _, c := range []struct {
		process *culvert
		config  string
		says    []string
	}{
		{capture, "static_resources: {listeners: [", []string{"the old one stays", "capture.yaml:"}},
		{gateway, strings.Replace(newGateway.yaml(), "cluster: destination", "cluster: destinatoin", 1),
			[]string{"the old one stays", "gateway.yaml:", "destinatoin"}},
	} {
		c.process.Configure(c.config)
		c.process.Signal(syscall.SIGHUP)
		c.process.AwaitLog(exitWithin, c.says...)
		live.moves()
	}
	shortFlow(t, w, echo)
	awaitRecords(t, w, "capture-2.log", 2)
	awaitRecords(t, w, "gateway-2.log", 2)

	if n := records(w, "capture.log") + records(w, "gateway.log"); n != 0 {
		t.Errorf("%d records of a flow that is open", n)
	}
	if err := live.end(); err != nil {
		t.Errorf("the transfer: %v", err)
	}
	awaitRecords(t, w, "capture.log", 1)
	awaitRecords(t, w, "gateway.log", 1)
	capture.awaitNoFlows()
	gateway.awaitNoFlows()
}

// shortFlow is a flow from its beginning to its end.
func shortFlow(t *testing.T, w *world, address string) {
	t.Helper()
	_ = openFlow(t, w, address).Close()
}

// records counts the lines of an access log; a log that is not there has none.
func records(w *world, name string) int {
	b, _ := os.ReadFile(w.file(name))
	return strings.Count(string(b), "\n")
}

// awaitRecords waits for the records of flows that have ended: they are written
// behind.
func awaitRecords(t *testing.T, w *world, name string, want int) {
	t.Helper()
	program.Eventually(t, exitWithin, name+" has its records", func() error {
		if n := records(w, name); n != want {
			return errors.New(name + " has another number of records: " + strings.Repeat("|", n))
		}
		return nil
	})
}
