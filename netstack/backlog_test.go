package netstack

import (
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"culvert/netstack/netstacktest"
	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// backlogRig opens no more than n connects at once.
func backlogRig(t *testing.T, n int) *rig {
	t.Helper()
	r := newRig(t, nil)
	r.stack.gate.mu.Lock()
	r.stack.gate.limit.opening = n
	r.stack.gate.mu.Unlock()
	return r
}

func fromHost(host byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, host}), port)
}

func turnAway(f network.Flow) error { f.Reject(errors.New("no")); return nil }

// Connects beyond those that are being opened wait, and come when one of these has
// been answered: one source after the other, and of one source in their order.
func TestBacklogTakesTurns(t *testing.T) {
	r := backlogRig(t, 1)
	dst := families()[0].dst
	begin := func(host byte, port uint16) { r.send(netstacktest.SYN(fromHost(host, port), dst, isn)) }
	begin(2, 1)
	first := r.arrive()
	for port := uint16(2); port <= 4; port++ {
		begin(2, port)
	}
	begin(3, 1)
	begin(4, 1)
	eventually(t, "all to wait", func() bool { return r.stack.Stats().Pending == 6 })
	r.noFlow()
	if st := r.stack.Stats(); st.Flows != 1 {
		t.Errorf("%d flows while the others wait", st.Flows)
	}
	first.finish(t, turnAway)
	for _, want := range []netip.AddrPort{fromHost(2, 2), fromHost(3, 1), fromHost(4, 1), fromHost(2, 3), fromHost(2, 4)} {
		a := r.arrive()
		if got := a.flow.Info().RemoteAddress.IP; got != want {
			t.Errorf("it is the turn of %s, want %s", got, want)
		}
		a.finish(t, turnAway)
	}
	eventually(t, "all to be answered", func() bool { st := r.stack.Stats(); return st.Pending == 0 && st.Flows == 0 })
}

// One source cannot open so many that no place is left for others.
func TestBacklogSharesPlaces(t *testing.T) {
	r := backlogRig(t, 4)
	dst := families()[0].dst
	for port := uint16(1); port <= 6; port++ {
		r.send(netstacktest.SYN(fromHost(2, port), dst, isn))
	}
	for range 3 { // three quarters of them
		r.arrive()
	}
	r.noFlow()
	r.send(netstacktest.SYN(fromHost(3, 1), dst, isn))
	if a := r.arrive(); a.flow.Info().RemoteAddress.IP != fromHost(3, 1) {
		t.Errorf("%s came", a.flow.Info().RemoteAddress)
	}
}

// Who gives up while it waits is never served, and leaves its place.
func TestBacklogIsLeft(t *testing.T) {
	r := backlogRig(t, 1)
	dst := families()[0].dst
	r.send(netstacktest.SYN(fromHost(2, 1), dst, isn))
	first := r.arrive()
	reset, again := fromHost(2, 2), fromHost(2, 3)
	r.send(netstacktest.SYN(reset, dst, isn))
	r.send(netstacktest.Segment{Src: reset, Dst: dst, Flags: header.TCPFlagRst, Seq: isn + 1})
	r.send(netstacktest.SYN(again, dst, isn))
	r.send(netstacktest.SYN(again, dst, isn)) // a retransmission
	r.send(netstacktest.SYN(again, dst, isn+9))
	eventually(t, "two to be pending", func() bool {
		st := r.stack.Stats()
		return st.Pending == 2 && st.CanceledReset == 1 && st.SynRetransmitted == 1
	})
	first.finish(t, turnAway)
	r.arrive().finish(t, turnAway)
	for range 2 {
		r.wire.Next() // what they were told
	}
	r.noFlow()
	eventually(t, "all to be answered", func() bool { return r.stack.Stats().Pending == 0 })
}

// When the stack closes, those that wait are told.
func TestBacklogIsRefused(t *testing.T) {
	r := backlogRig(t, 1)
	dst := families()[0].dst
	r.send(netstacktest.SYN(fromHost(2, 1), dst, isn))
	first := r.arrive()
	r.send(netstacktest.SYN(fromHost(2, 2), dst, isn))
	eventually(t, "one to wait", func() bool { return r.stack.Stats().Pending == 2 })
	r.stack.gate.close()
	told{type4: 3, cd4: 0}.check(t, r, fromHost(2, 2), dst)
	if st := r.stack.Stats(); st.Pending != 1 || st.FlowsUnwanted != 1 {
		t.Errorf("stats %+v", st)
	}
	first.finish(t, turnAway)
}

// Who does not repeat its SYN does not want the connect any more; who does, does.
func TestBacklogForgets(t *testing.T) {
	r := backlogRig(t, 1)
	var later atomic.Int64
	g := r.stack.gate
	g.mu.Lock()
	g.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	g.mu.Unlock()
	dst := families()[0].dst
	r.send(netstacktest.SYN(fromHost(2, 1), dst, isn))
	first := r.arrive()
	for port := uint16(2); port <= 4; port++ {
		r.send(netstacktest.SYN(fromHost(2, port), dst, isn))
	}
	eventually(t, "three to wait", func() bool { return r.stack.Stats().Pending == 4 })
	later.Store(int64(time.Second))
	r.send(netstacktest.SYN(fromHost(2, 3), dst, isn)) // again
	eventually(t, "it to be seen", func() bool { return r.stack.Stats().SynRetransmitted == 1 })
	later.Store(int64(waits + time.Second/2))
	first.finish(t, turnAway)
	a := r.arrive()
	if got := a.flow.Info().RemoteAddress.IP; got != fromHost(2, 3) {
		t.Errorf("%s is served, which nobody wants any more", got)
	}
	if n := r.stack.Stats().Pending; n != 2 {
		t.Errorf("%d are pending, want this and one that waits", n)
	}
	g.sweep(g.now())
	if n := r.stack.Stats().Pending; n != 1 {
		t.Errorf("%d are pending after a sweep, want this one", n)
	}
	a.finish(t, turnAway)
}
