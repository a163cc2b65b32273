package e2e

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"culvert/proxy/network"
	"culvert/test/peer"
	"culvert/test/program"
)

// exitWithin is how long a culvert without flows may take to end.
const exitWithin = time.Minute

// drainWorld is a world with an echo at the origin, a transfer under way, and
// what the app's network was before.
func drainWorld(t *testing.T, captureArgs, gatewayArgs []string) (w *world, capture, gateway *culvert, echo string, live *liveTransfer, before []string) {
	t.Helper()
	w = newWorld(t)
	before = networkOf(t, w.app)
	gateway = w.startGateway(gatewayArgs...)
	capture = w.startCapture(captureArgs...)
	echo = net.JoinHostPort(origin4, "80")
	peer.Serve(t, w.origin.Listen("tcp", echo), peer.Echo())
	live = startTransfer(t, openFlow(t, w, echo))
	live.moves()
	return w, capture, gateway, echo, live, before
}

// awaitDraining waits until new flows are not wanted any more.
func awaitDraining(c *culvert) {
	c.t.Helper()
	c.AwaitLog(exitWithin, "msg=draining")
}

func noNetworkLeft(t *testing.T, w *world, before []string) {
	t.Helper()
	if more := added(before, networkOf(t, w.app)); len(more) > 0 {
		t.Errorf("left of the capture: %v", more)
	}
}

// A culvert that is told to end lets what is open end, takes nothing new, and
// then leaves nothing; a second signal, or the time, cuts off what remains.
func TestDrain(t *testing.T) {
	t.Parallel()
	t.Run("capture", func(t *testing.T) {
		t.Parallel()
		w, capture, _, echo, live, before := drainWorld(t, []string{"--drain-time-s", "60"}, nil)
		capture.Signal(syscall.SIGTERM)
		awaitDraining(capture)
		// The first SYN may be one that was wanted still.
		program.Eventually(t, soon, "new connects are refused", func() error {
			r := peer.Connect(t.Context(), w.app, "tcp", echo, soon)
			r.Close()
			if r.Outcome != peer.NetUnreachable {
				return errors.New(r.String())
			}
			return nil
		})
		live.moves()
		if err := live.end(); err != nil {
			t.Errorf("a flow that was open: %v", err)
		}
		if code := capture.ExitsWithin(exitWithin); code != 0 {
			t.Errorf("exit code %d", code)
		}
		noNetworkLeft(t, w, before)
	})
	t.Run("gateway", func(t *testing.T) {
		t.Parallel()
		w, _, gateway, echo, live, _ := drainWorld(t, nil, []string{"--drain-time-s", "60"})
		gateway.Signal(syscall.SIGTERM)
		awaitDraining(gateway)
		program.Eventually(t, soon, "new connects are refused", func() error {
			r := peer.Connect(t.Context(), w.app, "tcp", echo, soon)
			r.Close()
			if r.Outcome != peer.NetUnreachable {
				return errors.New(r.String())
			}
			return nil
		})
		live.moves()
		if err := live.end(); err != nil {
			t.Errorf("a flow that was open: %v", err)
		}
		if code := gateway.ExitsWithin(exitWithin); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("time is up", func(t *testing.T) {
		t.Parallel()
		w, capture, _, _, live, before := drainWorld(t, []string{"--drain-time-s", "2"}, nil)
		cutOff(t, capture, live, 2*time.Second)
		noNetworkLeft(t, w, before)
	})
	t.Run("time of the gateway is up", func(t *testing.T) {
		t.Parallel()
		_, _, gateway, _, live, _ := drainWorld(t, nil, []string{"--drain-time-s", "2"})
		cutOff(t, gateway, live, 2*time.Second)
	})
	t.Run("second signal", func(t *testing.T) {
		t.Parallel()
		w, capture, _, _, live, before := drainWorld(t, []string{"--drain-time-s", "60"}, nil)
		capture.Signal(syscall.SIGTERM)
		awaitDraining(capture)
		live.moves()
		start := time.Now()
		capture.Signal(syscall.SIGTERM)
		if err := live.over(exitWithin); !network.IsReset(err) {
			t.Errorf("an open flow: %v", err)
		}
		code := capture.ExitsWithin(exitWithin)
		t.Logf("exit code %d after %v", code, time.Since(start))
		noNetworkLeft(t, w, before)
	})
	t.Run("second signal to the gateway", func(t *testing.T) {
		t.Parallel()
		_, _, gateway, _, live, _ := drainWorld(t, nil, []string{"--drain-time-s", "60"})
		gateway.Signal(syscall.SIGTERM)
		awaitDraining(gateway)
		live.moves()
		gateway.Signal(syscall.SIGTERM)
		if err := live.over(exitWithin); !network.IsReset(err) {
			t.Errorf("an open flow: %v", err)
		}
		gateway.ExitsWithin(exitWithin)
	})
}

// cutOff lets a flow that does not end meet a drain that does.
func cutOff(t *testing.T, c *culvert, live *liveTransfer, drain time.Duration) {
	t.Helper()
	start := time.Now()
	c.Signal(syscall.SIGTERM)
	err := live.over(drain + exitWithin)
	if took := time.Since(start); !network.IsReset(err) || took < drain {
		t.Errorf("a flow that does not end: %v after %v", err, took)
	}
	if code := c.ExitsWithin(exitWithin); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
