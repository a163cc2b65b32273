package scarcity

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"culvert/test/program"
	"culvert/test/topology"
)

// helper is one of this test binary's other programs.
type helper struct {
	t     *testing.T
	name  string
	input io.Writer
	lines *bufio.Scanner
}

// startHelper starts this test binary again on a host.
func startHelper(t *testing.T, h *topology.Host, args ...string) *helper {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := h.Command(exe, args...)
	var log program.Tail
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // runs after the kill that Start registers
		if t.Failed() {
			t.Logf("log of %s:\n%s", args[0], log.Text())
		}
	})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &helper{t: t, name: args[0], input: in, lines: bufio.NewScanner(out)}
}

// line is what the program says next. That it says anything in the end, its own
// patience sees to.
func (h *helper) line() string {
	h.t.Helper()
	if !h.lines.Scan() {
		h.t.Fatalf("%s ended: %v", h.name, h.lines.Err())
	}
	return h.lines.Text()
}

// command tells an application what to do and returns how it went.
func (h *helper) command(format string, args ...any) tally {
	h.t.Helper()
	if _, err := fmt.Fprintf(h.input, format+"\n", args...); err != nil {
		h.t.Fatalf("%s: %v", h.name, err)
	}
	var t tally
	if err := json.Unmarshal([]byte(h.line()), &t); err != nil {
		h.t.Fatalf("%s: %v", h.name, err)
	}
	return t
}

// must is command where every flow is as it should be.
func (h *helper) must(n int, format string, args ...any) time.Duration {
	h.t.Helper()
	t := h.command(format, args...)
	if t.Done != n || len(t.Failed) > 0 {
		h.t.Fatalf("%s: "+format+": %d of %d, failed %v", append(append([]any{h.name}, args...), t.Done, n, t.Failed)...)
	}
	return t.Took
}

// startOrigin starts an origin and returns its address.
func (w *world) startOrigin(port int) string {
	w.t.Helper()
	address := net.JoinHostPort(originAddress, fmt.Sprint(port))
	h := startHelper(w.t, w.origin, originArg, address)
	if said := h.line(); said != "listening" {
		w.t.Fatalf("%s: %s", h.name, said)
	}
	return address
}

func (w *world) startApplication() *helper {
	w.t.Helper()
	return startHelper(w.t, w.app, applicationArg)
}
