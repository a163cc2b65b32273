package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"culvert/proxy/network"
	"culvert/test/peer"
)

const (
	// pingTimeout is within which culvert must notice that a gateway does not
	// answer any more, and say so to those whose flows went through it.
	pingTimeout = 10 * time.Second
	// gatewayConnectTimeout is connect_timeout of the tests' configuration, which
	// bounds TCP and TLS to the gateway.
	gatewayConnectTimeout = 5 * time.Second
)

// Flows whose gateway is gone are reset, and new connects are told that the
// network is unreachable; nobody waits for ever.
func TestGatewayGone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		gone func(w *world, gateway *culvert)
		// how long open flows may go on, and connects that begin after that
		flows, connects time.Duration
	}{
		{"killed", func(_ *world, g *culvert) { g.Kill() }, soon, soon},
		// Its kernel goes on to answer, and to accept.
		{"stopped", func(_ *world, g *culvert) { g.freeze() }, pingTimeout + soon, gatewayConnectTimeout + soon},
		// As if its machine were off: whatever it would send is lost.
		{"vanished", func(w *world, _ *culvert) { w.gateway.Silent(clientAddress + "/32") }, pingTimeout + soon, gatewayConnectTimeout + soon},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			capture, gateway := w.startBoth()
			address := net.JoinHostPort(origin4, "80")
			peer.Serve(t, w.origin.Listen("tcp", address), peer.Echo())
			idle, busy := openFlow(t, w, address), openFlow(t, w, address)

			c.gone(w, gateway)
			start := time.Now()
			// A connect that is under way shares the fate of the open flows.
			pending := make(chan peer.Result, 1)
			go func() { // ends with its limit
				pending <- peer.Connect(context.Background(), w.app, "tcp", address, c.flows+c.connects)
			}()
			deadline := start.Add(c.flows)
			if err := errors.Join(idle.SetDeadline(deadline), busy.SetDeadline(deadline)); err != nil {
				t.Fatal(err)
			}
			_, idleErr := io.Copy(io.Discard, idle)
			var busyErr error
			for busyErr == nil { // a socket's buffers are full soon
				_, busyErr = busy.Write(make([]byte, 1<<20))
			}
			took := time.Since(start)
			if !network.IsReset(idleErr) || !network.IsReset(busyErr) {
				t.Errorf("after %v: idle flow: %v, busy flow: %v; want resets within %v", took, idleErr, busyErr, c.flows)
			}
			t.Logf("flows were reset after %v", took)
			if r := <-pending; r.Outcome != peer.NetUnreachable {
				t.Errorf("a connect under way: %v", r)
			} else {
				t.Logf("a connect under way: %v", r)
			}
			r := peer.Connect(t.Context(), w.app, "tcp", address, c.connects)
			t.Logf("a connect after that: %v", r)
			if r.Outcome != peer.NetUnreachable {
				t.Errorf("a connect after that: %v, want %v within %v", r, peer.NetUnreachable, c.connects)
			}
			capture.awaitNoFlows()
		})
	}
}

// A gateway that is started again is used again.
func TestGatewayComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, gateway := w.startBoth()
	address := net.JoinHostPort(origin4, "80")
	peer.Serve(t, w.origin.Listen("tcp", address), peer.Echo())
	openFlow(t, w, address)
	gateway.Kill()
	if r := peer.Connect(t.Context(), w.app, "tcp", address, soon); r.Outcome != peer.NetUnreachable {
		t.Errorf("without a gateway: %v", r)
	}
	w.startGateway()
	openFlow(t, w, address)
}

// openFlow connects and sees one byte echoed. The connection is closed with the
// test.
func openFlow(t *testing.T, w *world, address string) net.Conn {
	t.Helper()
	r := peer.Connect(t.Context(), w.app, "tcp", address, exchangeWithin)
	if r.Err != nil {
		t.Fatalf("%s: %v", address, r.Err)
	}
	t.Cleanup(r.Close)
	echoByte(t, r.Conn)
	return r.Conn
}

// echoByte sends one byte and waits for its echo.
func echoByte(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(exchangeWithin)); err != nil {
		t.Fatal(err)
	}
	b := []byte{'x'}
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, b); err != nil || b[0] != 'x' {
		t.Fatalf("echo: %q, %v", b, err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
}
