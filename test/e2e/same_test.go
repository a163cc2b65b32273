package e2e

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"culvert/test/peer"
)

const (
	// silence is how long a connect that nobody answers must go on.
	silence = 15 * time.Second
	// soon is within which an answer comes that somebody gives: it does at once,
	// unless the machine has much else to do.
	soon = 30 * time.Second
	// exchangeWithin bounds one conversation.
	exchangeWithin = 2 * time.Minute
	// flowing is what is still under way when the other direction ends, bytes.
	flowing = 16 << 20
)

// What an application and an origin see is the same with culvert and without.
func TestSameWithAndWithout(t *testing.T) {
	t.Parallel()
	t.Run("without", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.wireApp()
		sameTable(t, w)
	})
	t.Run("with", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		capture, gateway := w.startBoth()
		t.Cleanup(func() { // after the parallel rows below
			capture.awaitNoFlows()
			gateway.awaitNoFlows()
		})
		sameTable(t, w)
	})
}

// sameTable says nothing of what is between the app and the origin.
func sameTable(t *testing.T, w *world) {
	for _, family := range []struct{ name, origin, absent, silent string }{
		{"IPv4", origin4, absent4, silent4},
		{"IPv6", origin6, absent6, silent6},
	} {
		t.Run(family.name, func(t *testing.T) {
			t.Parallel()
			t.Run("connects", func(t *testing.T) {
				connectTable(t, w, family.origin, family.absent, family.silent)
			})
			t.Run("ends", func(t *testing.T) { endTable(t, w, family.origin) })
		})
	}
}

// connectTable is what connect() comes to.
func connectTable(t *testing.T, w *world, origin, absent, silent string) {
	peer.Serve(t, w.origin.Listen("tcp", net.JoinHostPort(origin, "1000")), peer.Silent())
	for _, c := range []struct {
		name, address string
		want          peer.Outcome
		within        time.Duration
	}{
		{"succeeds", net.JoinHostPort(origin, "1000"), peer.Connected, soon},
		{"closed port", net.JoinHostPort(origin, "1"), peer.Refused, soon},
		{"host down", net.JoinHostPort(absent, "80"), peer.HostUnreachable, soon},
		{"filtered", net.JoinHostPort(silent, "80"), peer.NothingWithinLimit, silence},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := peer.Connect(t.Context(), w.app, "tcp", c.address, c.within)
			r.Close()
			if r.Outcome != c.want {
				t.Errorf("%s: %v, want %s", c.address, r, c.want)
			}
		})
	}
}

// endTable is how conversations end.
func endTable(t *testing.T, w *world, origin string) {
	big := peer.Stream{Seed: 3, Size: flowing}
	small := peer.Stream{Seed: 4, Size: 1000}
	medium := peer.Stream{Seed: 5, Size: 256 << 10}
	for i, c := range []struct {
		name        string
		app, origin peer.Handler
	}{
		{"both end", peer.Exchange(big, small), peer.Exchange(small, big)},
		{"app ends first, all comes later", peer.SendFirst(small, big), peer.ReceiveFirst(small, big)},
		{"origin ends first, all comes later", peer.ReceiveFirst(small, big), peer.SendFirst(small, big)},
		{"app ends at once, under a download", peer.Exchange(peer.Stream{}, big), peer.Exchange(big, peer.Stream{})},
		{"origin ends at once, under an upload", peer.Exchange(big, peer.Stream{}), peer.Exchange(peer.Stream{}, big)},
		{"app resets", peer.SettleAndReset(medium), peer.ReceiveThenReset(medium)},
		{"origin resets", peer.ReceiveThenReset(medium), peer.SettleAndReset(medium)},
		{"app resets, nothing was said", peer.ResetAfter(0), peer.AwaitReset()},
		{"app resets under a download", peer.ResetAfter(1 << 20), peer.SendUntilReset(big)},
		{"origin resets under an upload", peer.SendUntilReset(big), peer.ResetAfter(1 << 20)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			converse(t, w, net.JoinHostPort(origin, strconv.Itoa(2000+i)), c.app, c.origin)
		})
	}
}

// converse runs the app's half of a conversation against the origin's; both
// must be content.
func converse(t *testing.T, w *world, address string, app, origin peer.Handler) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), exchangeWithin)
	defer cancel()
	srv := peer.Serve(t, w.origin.Listen("tcp", address), origin)
	conn, err := w.app.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Within(ctx, exchangeWithin, conn)()
	if err := app(ctx, conn); err != nil {
		t.Errorf("app: %v", err)
	}
	if err := srv.Result(ctx); err != nil {
		t.Errorf("origin: %v", err)
	}
}
