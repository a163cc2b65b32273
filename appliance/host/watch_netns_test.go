package host

import (
	"context"
	"strings"
	"testing"
	"time"

	"culvert/test/need"

	"github.com/vishvananda/netlink"
)

// What somebody takes from a plan in force is put back, and told.
//
//	a eth0 ── eth0 b
func TestWatch(t *testing.T) {
	need.Netns(t)
	need.IPv6(t)
	a, b := newNS(t), newNS(t)
	must(t, VethPair(a, "eth0", b, "eth0"))
	apply(t, b, Plan{Interface: "eth0"})
	before := state(t, a)
	applied, err := Apply(t.Context(), a, fullPlan(t))
	must(t, err)
	during := state(t, a)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes, done := make(chan Change, 10), make(chan error, 1)
	go func() { done <- applied.Watch(ctx, func(c Change) { changes <- c }) }() // ends with ctx
	next := func() Change {
		t.Helper()
		select {
		case c := <-changes:
			return c
		case err := <-done:
			t.Fatalf("Watch has ended: %v", err)
		case <-time.After(time.Minute):
			t.Fatal("no change is told")
		}
		return Change{}
	}
	change := func(fn func(h *netlink.Handle, eth0 netlink.Link) error) {
		t.Helper()
		must(t, a.withHandle(func(h *netlink.Handle) error {
			eth0, err := h.LinkByName("eth0")
			must(t, err)
			return fn(h, eth0)
		}))
	}
	// settled compares once nothing more is put back: rules, too, may be two.
	settled := func() {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); state(t, a) != during; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("it is:\n%s\nand not:\n%s", state(t, a), during)
			}
		}
	}

	for range 2 {
		change(func(h *netlink.Handle, eth0 netlink.Link) error { return h.LinkSetDown(eth0) })
		// A look that is under way may put things back that go again with the
		// link.
		var restored []string
		for down := false; !down; {
			c := next()
			if c.Err != nil {
				t.Errorf("set down: %+v", c)
			}
			down, restored = c.Down, append(restored, c.Restored...)
		}
		change(func(h *netlink.Handle, eth0 netlink.Link) error { return h.LinkSetUp(eth0) })
		settled()
		for all := ""; !strings.Contains(all, "add route 11.0.0.0/8 dev eth0 table 700") || !strings.Contains(all, "add address fd00:198:18::1/128"); {
			c := next() // it may have taken more than one look
			if c.Down || c.Err != nil {
				t.Errorf("set up again: %+v, in all %q", c, restored)
			}
			restored = append(restored, c.Restored...)
			all = strings.Join(restored, "\n")
		}
	}

	change(func(h *netlink.Handle, eth0 netlink.Link) error {
		routes, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: 700}, netlink.RT_FILTER_TABLE)
		must(t, err)
		return h.RouteDel(&routes[0])
	})
	if c := next(); len(c.Restored) == 0 || c.Down || c.Err != nil {
		t.Errorf("a route is removed: %+v", c)
	}
	settled()

	cancel()
	must(t, <-done)
	must(t, applied.Undo())
	if after := state(t, a); after != before {
		t.Errorf("undo left:\n%s\nof:\n%s", after, before)
	}
}

func TestConcerns(t *testing.T) {
	message := func(kind uint16, size byte) []byte {
		b := make([]byte, 16)
		b[0], b[4], b[5] = size, byte(kind), byte(kind>>8)
		return b
	}
	const newRoute, delRoute = 24, 25
	for _, tt := range []struct {
		in   []byte
		want bool
	}{
		{nil, false},
		{message(newRoute, 16), false},
		{message(delRoute, 16), true},
		{append(message(newRoute, 16), message(delRoute, 16)...), true},
		{append(message(newRoute, 0), message(delRoute, 16)...), false}, // no message has length 0
		{append(message(newRoute, 200), message(delRoute, 16)...), false},
		{message(delRoute, 16)[:15], false},
	} {
		if got := concerns(tt.in); got != tt.want {
			t.Errorf("%v: %v", tt.in, got)
		}
	}
}
