package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"culvert/appliance/host"
	"culvert/test/peer"
	"culvert/test/topology"

	"github.com/google/go-cmp/cmp"
)

// A capturing culvert that is killed leaves nothing in the namespace it
// captured, and connects fail at once, as they did before it came.
func TestKillNine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := net.JoinHostPort(origin4, "80")
	peer.Serve(t, w.origin.Listen("tcp", address), peer.Echo())
	before := networkOf(t, w.app)
	if r := peer.Connect(t.Context(), w.app, "tcp", address, soon); r.Outcome != peer.NetUnreachable {
		t.Fatalf("an app without any way out: %v", r)
	}
	capture, _ := w.startBoth()
	openFlow(t, w, address)
	if len(added(before, networkOf(t, w.app))) < 5 { // a link, two addresses, two routes
		t.Errorf("culvert captures by nothing: %v", networkOf(t, w.app))
	}

	capture.Kill()
	if diff := cmp.Diff(before, networkOf(t, w.app)); diff != "" {
		t.Errorf("left of the capture (-before +after):\n%s", diff)
	}
	for _, address := range []string{address, net.JoinHostPort(origin6, "80")} {
		if r := peer.Connect(t.Context(), w.app, "tcp", address, soon); r.Outcome != peer.NetUnreachable {
			t.Errorf("a connect to %s after the kill: %v", address, r)
		}
	}
	w.startCapture()
	openFlow(t, w, address)
}

// On a host with a way of its own, connects take that way at once when the
// culvert that captured by table and mark is killed. The kernel keeps two policy
// rules, which lead into an empty table; the next culvert removes them.
func TestKillNineOnAHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.client.Default(gatewayAddress)
	w.gateway.Forward()
	address := net.JoinHostPort(origin4, "80")
	peer.Serve(t, w.origin.Listen("tcp", address), sayWhoCalls)
	const direct, tunnelled = clientAddress, "10.2.0.1"
	expect := func(when, want string) {
		t.Helper()
		if got := whoCalls(t, w.client, address); got != want {
			t.Errorf("%s the origin is called by %s, want %s", when, got, want)
		}
	}
	conf := w.captureConfig()
	conf.Netns, conf.Table, conf.Mark = "", 3073, 3073
	before := networkOf(t, w.client)
	expect("before,", direct)

	w.startGateway()
	capture := w.start("capture", w.client, conf.yaml())
	expect("captured,", tunnelled)
	capture.Kill()
	expect("after kill -9,", direct)
	left := added(before, networkOf(t, w.client))
	ours := slices.IndexFunc(left, func(line string) bool {
		return !strings.HasPrefix(line, "rule ") || !strings.Contains(line, fmt.Sprintf("protocol %d", host.Protocol))
	})
	if len(left) != 2 || ours >= 0 {
		t.Errorf("left of the capture, want one rule for each family:\n%s", strings.Join(left, "\n"))
	}

	// The next one starts over the remains, and takes them with it.
	capture = w.start("capture", w.client, conf.yaml(), "--drain-time-s", "0")
	expect("captured again,", tunnelled)
	capture.Signal(syscall.SIGTERM)
	if code := capture.ExitsWithin(exitWithin); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if diff := cmp.Diff(before, networkOf(t, w.client)); diff != "" {
		t.Errorf("left after SIGTERM (-before +after):\n%s", diff)
	}
	expect("at the end", direct)
}

// sayWhoCalls tells the client its own address.
func sayWhoCalls(_ context.Context, c net.Conn) error {
	defer func() { _ = c.Close() }()
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err == nil {
		_, err = io.WriteString(c, host)
	}
	return err
}

func whoCalls(t *testing.T, h *topology.Host, address string) string {
	t.Helper()
	r := peer.Connect(t.Context(), h, "tcp", address, soon)
	if r.Err != nil {
		return r.String()
	}
	defer r.Close()
	defer peer.Within(t.Context(), soon, r.Conn)()
	got, err := io.ReadAll(r.Conn)
	if err != nil {
		return err.Error()
	}
	return string(got)
}
