package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"culvert/proxy/network"
	"culvert/test/peer"
	"culvert/test/program"
	"culvert/test/topology"
)

// application is the program that TestApplicationKilled kills: it says
// "connecting", connects, says "connected", and sends and receives without end.
func application(address string) int {
	fmt.Println("connecting")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("connected")
	go func() { _, _ = io.Copy(io.Discard, conn) }() // ends with the process
	for block := make([]byte, 64<<10); err == nil; {
		_, err = conn.Write(block)
	}
	fmt.Println(err)
	return 1
}

// startApplication starts the program on the app and waits until it says so.
func (w *world) startApplication(t *testing.T, address, said string) *topology.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	app := w.app.Command(exe, applicationArg, address)
	var log program.Tail
	app.Stdout, app.Stderr = &log, &log
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	program.Eventually(t, exchangeWithin, "the application is "+said, func() error {
		if !strings.Contains(log.Text(), said) {
			return fmt.Errorf("it says %q", log.Text())
		}
		return nil
	})
	return app
}

func killed(t *testing.T, app *topology.Cmd) {
	t.Helper()
	if err := app.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = app.Wait() // killed
}

// When an application dies, so does everything made for it, up to the origin.
func TestApplicationKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	capture, gateway := w.startBoth()
	ctx, cancel := context.WithTimeout(t.Context(), exchangeWithin)
	defer cancel()

	t.Run("transferring", func(t *testing.T) {
		capture, gateway := capture.in(t), gateway.in(t)
		address := net.JoinHostPort(origin4, "80")
		srv := peer.Serve(t, w.origin.Listen("tcp", address), bothWaysUntilReset())
		app := w.startApplication(t, address, "connected")
		program.Eventually(t, exchangeWithin, "bytes flow", func() error {
			for _, f := range capture.live() {
				if f.State == "open" && f.Received > 1<<20 && f.Sent > 1<<20 {
					return nil
				}
			}
			return fmt.Errorf("%+v", capture.live())
		})
		killed(t, app)
		if err := srv.Result(ctx); err != nil {
			t.Errorf("origin: %v", err)
		}
		capture.awaitNoFlows()
		gateway.awaitNoFlows()
	})
	t.Run("connecting", func(t *testing.T) {
		capture, gateway := capture.in(t), gateway.in(t)
		app := w.startApplication(t, net.JoinHostPort(silent4, "80"), "connecting")
		for _, c := range []*culvert{capture, gateway} {
			program.Eventually(t, exchangeWithin, c.Name+" knows of the connect", func() error {
				if live := c.live(); len(live) != 1 || live[0].State != "pending" {
					return fmt.Errorf("%+v", live)
				}
				return nil
			})
		}
		killed(t, app)
		capture.awaitNoFlows()
		gateway.awaitNoFlows()
		if n := capture.Stat("tun.culvert0.canceled_gone"); n != 1 {
			t.Errorf("canceled_gone is %d", n)
		}
	})
}

// bothWaysUntilReset sends without end and receives, until a reset.
func bothWaysUntilReset() peer.Handler {
	return func(ctx context.Context, c net.Conn) error {
		sent := make(chan error, 1)
		go func() { sent <- peer.SendUntilReset(peer.Stream{Seed: 6, Size: 1 << 20})(ctx, c) }() // ends with c
		_, err := io.Copy(io.Discard, c)
		if err == nil || network.IsReset(err) || errors.Is(err, net.ErrClosed) {
			return <-sent // which was told how it ended
		}
		return errors.Join(err, <-sent)
	}
}
