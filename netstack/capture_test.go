package netstack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"culvert/netstack/netstacktest"
	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const isn = 1000

// told is what an application sees of a verdict.
type told struct {
	reset      bool
	type4, cd4 uint8
	type6, cd6 uint8
	silent     bool
}

func verdictTable() []struct {
	name  string
	cause error
	want  told
} {
	return []struct {
		name  string
		cause error
		want  told
	}{
		{"refused", network.WithReason(network.ReasonConnectionRefused, nil), told{reset: true}},
		{"unroutable", network.WithReason(network.ReasonUnroutable, nil), told{type4: 3, cd4: 1, type6: 1, cd6: 3}},
		{"unavailable", network.WithReason(network.ReasonUnavailable, nil), told{type4: 3, cd4: 1, type6: 1, cd6: 3}},
		{"dns", network.WithReason(network.ReasonDNS, nil), told{type4: 3, cd4: 1, type6: 1, cd6: 3}},
		{"prohibited", network.WithReason(network.ReasonProhibited, nil), told{type4: 3, cd4: 13, type6: 1, cd6: 1}},
		{"gateway", network.WithReason(network.ReasonGateway, nil), told{type4: 3, cd4: 0, type6: 1, cd6: 0}},
		{"unknown", errors.New("whatever"), told{type4: 3, cd4: 0, type6: 1, cd6: 0}},
		{"timeout", network.WithReason(network.ReasonTimeout, nil), told{silent: true}},
	}
}

// check reads the answer to a SYN from src to dst.
func (want told) check(t *testing.T, r *rig, src, dst netip.AddrPort) {
	t.Helper()
	if want.silent {
		r.quiet()
		return
	}
	p := r.wire.Next()
	if p.Src.Addr() != dst.Addr() || p.Dst.Addr() != src.Addr() {
		t.Fatalf("answer went from %s to %s", p.Src, p.Dst)
	}
	if want.reset {
		if p.Flags != header.TCPFlagRst|header.TCPFlagAck || p.Ack != isn+1 || p.Src != dst || p.Dst != src {
			t.Fatalf("want RST of the SYN, got %+v", p)
		}
		return
	}
	typ, code := want.type4, want.cd4
	if dst.Addr().Is6() {
		typ, code = want.type6, want.cd6
	}
	if p.Type != typ || p.Code != code || !p.ChecksumOK {
		t.Fatalf("want ICMP %d/%d, got %+v", typ, code, p)
	}
	if q := p.Quoted; q == nil || q.Src != src || q.Dst != dst || q.Seq != isn {
		t.Fatalf("ICMP quotes %+v", q)
	}
}

func TestVerdicts(t *testing.T) {
	for _, e := range families() {
		for _, row := range verdictTable() {
			t.Run(e.name+"/"+row.name, func(t *testing.T) {
				r := newRig(t, nil)
				syn := netstacktest.SYN(e.src, e.dst, isn)
				r.send(syn)
				a := r.arrive()
				r.send(syn) // swallowed while pending
				r.noFlow()
				a.finish(t, func(f network.Flow) error { f.Reject(row.cause); return row.cause })
				row.want.check(t, r, e.src, e.dst)
				r.send(syn) // told the same again, nothing dialled
				row.want.check(t, r, e.src, e.dst)
				r.noFlow()
				eventually(t, "the flow to end", func() bool { return r.stack.Stats().Flows == 0 })
				if st := r.stack.Stats(); st.SynSeen != 3 || st.SynRetransmitted != 2 || st.Pending != 0 {
					t.Errorf("stats %+v", st)
				}
			})
		}
	}
}

func TestFlowDescribesItself(t *testing.T) {
	table := network.NewFlowTable()
	r := newRig(t, func(_ *Config, d *Deps) { d.Flows = table })
	e := families()[1]
	r.send(netstacktest.SYN(e.src, e.dst, isn))
	a := r.arrive()
	info := a.flow.Info()
	if info.RemoteAddress != network.IPAddress(e.src) || info.LocalAddress != network.IPAddress(e.dst) {
		t.Errorf("addresses %s, %s", info.RemoteAddress, info.LocalAddress)
	}
	for name, want := range map[string]string{
		network.StateDestination: "[2001:db8::7]:443", network.StateDestinationHost: "2001:db8::7",
		network.StateDestinationSource: "address",
	} {
		if got := info.FilterState[name]; got != want {
			t.Errorf("%s = %v, want %s", name, got, want)
		}
	}
	if table.Len() != 1 {
		t.Errorf("%d flows listed", table.Len())
	}
	a.finish(t, func(f network.Flow) error {
		f.Reject(network.WithReason(network.ReasonConnectionRefused, nil))
		f.Reject(errors.New("a second verdict does nothing"))
		if _, err := f.Accept(context.Background()); err == nil {
			t.Error("Accept after Reject succeeded")
		}
		return nil
	})
	eventually(t, "the flow to leave the table", func() bool { return table.Len() == 0 })
	if v := table.Ended()[0].Snapshot().Verdict; v != "refused" {
		t.Errorf("verdict %q", v)
	}
}

func TestHandlerWithoutAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want told
	}{
		"nothing": {nil, told{type4: 3, cd4: 0}},
		"error":   {network.WithReason(network.ReasonConnectionRefused, nil), told{reset: true}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			e := families()[0]
			r.send(netstacktest.SYN(e.src, e.dst, isn))
			r.arrive().finish(t, func(network.Flow) error { return c.err })
			c.want.check(t, r, e.src, e.dst)
		})
	}
}

func TestNoListener(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Deps) { c.TCPListener = "elsewhere" })
	for _, e := range families() {
		r.send(netstacktest.SYN(e.src, e.dst, isn))
		told{type4: 3, cd4: 0, type6: 1, cd6: 0}.check(t, r, e.src, e.dst)
	}
}

func TestNewSequenceNumberIsNewConnect(t *testing.T) {
	for name, first := range map[string]func(*rig, *arrival){
		"pending": func(*rig, *arrival) {},
		"silent": func(r *rig, a *arrival) {
			a.finish(r.t, func(f network.Flow) error { f.Reject(network.WithReason(network.ReasonTimeout, nil)); return nil })
		},
		"told": func(r *rig, a *arrival) {
			a.finish(r.t, func(f network.Flow) error { f.Reject(errors.New("no")); return nil })
			r.wire.Next()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			e := families()[0]
			r.send(netstacktest.SYN(e.src, e.dst, isn-500))
			old := r.arrive()
			first(r, old)
			r.send(netstacktest.SYN(e.src, e.dst, isn))
			fresh := r.arrive()
			if name == "pending" {
				if err := old.awaitCancel(t); !errors.Is(err, errSuperseded) {
					t.Errorf("old flow ended with %v", err)
				}
			}
			fresh.finish(t, func(f network.Flow) error {
				f.Reject(network.WithReason(network.ReasonConnectionRefused, nil))
				return nil
			})
			told{reset: true}.check(t, r, e.src, e.dst)
			r.noFlow()
		})
	}
}

func TestResetCancels(t *testing.T) {
	r := newRig(t, nil)
	e := families()[0]
	r.send(netstacktest.SYN(e.src, e.dst, isn))
	a := r.arrive()
	rst := netstacktest.Segment{Src: e.src, Dst: e.dst, Flags: header.TCPFlagRst, Seq: isn + 99}
	r.send(rst) // forged
	r.quiet()
	if err := a.flow.Context().Err(); err != nil {
		t.Fatalf("a forged reset canceled the flow: %v", err)
	}
	rst.Seq, rst.BadChecksum = isn+1, true
	r.send(rst) // damaged
	r.quiet()
	if err := a.flow.Context().Err(); err != nil {
		t.Fatalf("a damaged reset canceled the flow: %v", err)
	}
	rst.BadChecksum = false
	r.send(rst)
	if err := a.awaitCancel(t); !errors.Is(err, errApplicationReset) || network.ReasonFor(err) != network.ReasonCanceled {
		t.Errorf("flow ended with %v", err)
	}
	await(t, a.over, "the handler")
	r.quiet() // nobody is told anything
	eventually(t, "the place to be given back", func() bool { return r.stack.Stats().Pending == 0 })
	if st := r.stack.Stats(); st.CanceledReset != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestAcceptAfterReset(t *testing.T) {
	r := newRig(t, nil)
	e := families()[0]
	r.send(netstacktest.SYN(e.src, e.dst, isn))
	a := r.arrive()
	a.next <- func(f network.Flow) error { // it does not look at its context before
		<-f.Context().Done()
		_, err := f.Accept(context.Background())
		if !errors.Is(err, errApplicationReset) {
			t.Errorf("Accept: %v", err)
		}
		return err
	}
	r.send(netstacktest.Segment{Src: e.src, Dst: e.dst, Flags: header.TCPFlagRst, Seq: isn + 1})
	await(t, a.over, "the handler")
	r.quiet()
}

func TestSYNChecks(t *testing.T) {
	r := newRig(t, nil)
	for _, e := range families() {
		bad := netstacktest.SYN(e.src, e.dst, isn)
		bad.BadChecksum = true
		r.send(bad)
	}
	v4 := families()[0]
	r.send(netstacktest.SYN(v4.src, netip.MustParseAddrPort("224.0.0.1:80"), isn))
	r.send(netstacktest.SYN(netip.AddrPortFrom(v4.src.Addr(), 0), v4.dst, isn))
	r.noFlow()
	if st := r.stack.Stats(); st.Link.RxChecksum != 2 || st.SynDroppedInvalid == 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestSYNPayloadIsNotKept(t *testing.T) {
	r := newRig(t, nil)
	e := families()[0]
	syn := netstacktest.SYN(e.src, e.dst, isn)
	syn.Payload = make([]byte, 1400)
	r.send(syn)
	a := r.arrive()
	r.stack.gate.mu.Lock()
	kept := a.flow.(*flow).entry.syn.Size()
	r.stack.gate.mu.Unlock()
	if kept > 120 {
		t.Errorf("%d bytes kept of a SYN", kept)
	}
	a.next <- func(f network.Flow) error { _, err := f.Accept(f.Context()); return err }
	if p := r.wire.Next(); p.Flags != header.TCPFlagSyn|header.TCPFlagAck || p.Ack != isn+1 {
		t.Errorf("answer %+v", p)
	}
	r.send(netstacktest.Segment{Src: e.src, Dst: e.dst, Flags: header.TCPFlagRst, Seq: isn + 1})
	await(t, a.over, "the handler")
}

func TestLimits(t *testing.T) {
	from := func(host byte, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, host}), port)
	}
	dst := families()[0].dst
	t.Run("pending", func(t *testing.T) {
		r := newRig(t, func(c *Config, _ *Deps) { c.MaxPendingConnects = 6 })
		for i := range uint16(5) { // one source gets two thirds
			r.send(netstacktest.SYN(from(2, 1000+i), dst, isn))
		}
		for i := range uint16(3) {
			r.send(netstacktest.SYN(from(3, 1000+i), dst, isn))
		}
		r.quiet()
		st := r.stack.Stats()
		if st.Pending != 6 || st.SynDroppedSourceLimit != 1 || st.SynDroppedPendingLimit != 1 {
			t.Errorf("stats %+v", st)
		}
		r.arrive().finish(t, func(f network.Flow) error { f.Reject(errors.New("no")); return nil })
		r.wire.Next()
		r.send(netstacktest.SYN(from(4, 1), dst, isn)) // there is a place again
		eventually(t, "the freed place", func() bool {
			r.send(netstacktest.SYN(from(4, 1), dst, isn))
			return r.stack.Stats().Pending == 6
		})
	})
	t.Run("flows", func(t *testing.T) {
		r := newRig(t, func(c *Config, _ *Deps) { c.MaxFlows = 1 })
		r.send(netstacktest.SYN(from(2, 1), dst, isn))
		r.arrive()
		r.send(netstacktest.SYN(from(2, 2), dst, isn))
		told{type4: 3, cd4: 0}.check(t, r, from(2, 2), dst)
		if st := r.stack.Stats(); st.FlowsOverLimit != 1 || st.Flows != 1 {
			t.Errorf("stats %+v", st)
		}
	})
	t.Run("silent", func(t *testing.T) {
		r := newRig(t, nil)
		r.stack.gate.mu.Lock()
		r.stack.gate.limit.silent = 2
		r.stack.gate.mu.Unlock()
		for i := range uint16(2) {
			r.send(netstacktest.SYN(from(2, i+1), dst, isn))
			r.arrive().finish(t, func(f network.Flow) error { f.Reject(context.DeadlineExceeded); return nil })
		}
		r.send(netstacktest.SYN(from(2, 9), dst, isn))
		r.noFlow()
		if st := r.stack.Stats(); st.SynDroppedSilentLimit != 1 || st.SilentRemembered != 2 {
			t.Errorf("stats %+v", st)
		}
	})
	t.Run("told", func(t *testing.T) {
		r := newRig(t, nil)
		r.stack.gate.mu.Lock()
		r.stack.gate.limit.told = 2
		r.stack.gate.mu.Unlock()
		for i := range uint16(3) {
			r.send(netstacktest.SYN(from(2, i+1), dst, isn))
			r.arrive().finish(t, func(f network.Flow) error { f.Reject(errors.New("no")); return nil })
			r.wire.Next()
		}
		if st := r.stack.Stats(); st.ToldRemembered != 2 {
			t.Errorf("%d verdicts remembered", st.ToldRemembered)
		}
	})
}

func TestSilenceIsForgottenInTime(t *testing.T) {
	var offset atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	r := newRig(t, nil)
	r.stack.gate.mu.Lock()
	r.stack.gate.now = clock
	r.stack.gate.mu.Unlock()
	e := families()[0]
	syn := netstacktest.SYN(e.src, e.dst, isn)
	r.send(syn)
	r.arrive().finish(t, func(f network.Flow) error { f.Reject(context.DeadlineExceeded); return nil })
	for range 3 { // each retransmission keeps it for another 75 s
		offset.Add(int64(70 * time.Second))
		r.stack.gate.sweep(clock())
		r.send(syn)
		r.noFlow()
	}
	r.stack.gate.mu.Lock()
	for _, e := range r.stack.gate.entries {
		if e.flow != nil || e.syn != nil {
			t.Error("more than a verdict is remembered")
		}
	}
	r.stack.gate.mu.Unlock()
	offset.Add(int64(80 * time.Second))
	r.stack.gate.sweep(clock())
	if st := r.stack.Stats(); st.SilentRemembered != 0 {
		t.Fatalf("%d verdicts remembered", st.SilentRemembered)
	}
	r.send(syn)
	r.arrive()
}

func TestGivingUp(t *testing.T) {
	var state atomic.Uint32
	prober := ProberFunc(func(local, remote netip.AddrPort) Liveness {
		if e := families()[0]; local != e.src || remote != e.dst {
			t.Errorf("asked for %s to %s", local, remote)
		}
		return Liveness(state.Load())
	})
	gone := func(t *testing.T, r *rig, a *arrival) {
		t.Helper()
		if err := a.awaitCancel(t); !errors.Is(err, errApplicationGone) {
			t.Errorf("flow ended with %v", err)
		}
		await(t, a.over, "the handler")
		r.quiet()
		if st := r.stack.Stats(); st.CanceledGone != 1 {
			t.Errorf("stats %+v", st)
		}
	}
	for _, c := range []struct {
		name        string
		first, then Liveness
		do          func(*testing.T, *rig, *arrival)
	}{
		{"while pending", LivenessAlive, LivenessGone, gone},
		{"found at accept", LivenessAlive, LivenessGone, func(t *testing.T, r *rig, a *arrival) {
			a.next <- func(f network.Flow) error { _, err := f.Accept(context.Background()); return err }
			gone(t, r, a)
		}},
		{"found at reject", LivenessAlive, LivenessGone, func(t *testing.T, r *rig, a *arrival) {
			a.next <- func(f network.Flow) error { f.Reject(errors.New("no")); return nil }
			gone(t, r, a)
		}},
		{"unknown is alive", LivenessUnknown, LivenessUnknown, stillTold},
		{"never seen is alive", LivenessGone, LivenessGone, stillTold},
		{"becomes unknown", LivenessAlive, LivenessUnknown, stillTold},
	} {
		t.Run(c.name, func(t *testing.T) {
			state.Store(uint32(c.first))
			r := newRig(t, func(_ *Config, d *Deps) { d.Prober = prober })
			e := families()[0]
			r.send(netstacktest.SYN(e.src, e.dst, isn))
			a := r.arrive()
			state.Store(uint32(c.then))
			c.do(t, r, a)
		})
	}
}

func stillTold(t *testing.T, r *rig, a *arrival) {
	t.Helper()
	r.stack.gate.probePending()
	a.finish(t, func(f network.Flow) error { f.Reject(errors.New("no")); return nil })
	e := families()[0]
	told{type4: 3, cd4: 0}.check(t, r, e.src, e.dst)
}

func TestClosedGateRefuses(t *testing.T) {
	r := newRig(t, nil)
	e := families()[0]
	if err := r.stack.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.send(netstacktest.SYN(e.src, e.dst, isn))
	told{type4: 3, cd4: 0}.check(t, r, e.src, e.dst)
	if st := r.stack.Stats(); st.FlowsUnwanted != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestCloseEndsPendingFlows(t *testing.T) {
	near, far := netstacktest.NewPair()
	w := netstacktest.NewWire(t, near)
	arrived := make(chan network.Flow, 1)
	s, err := New(Config{TCPListener: "x"}, Deps{Device: far, Lookup: func(string) (network.Handler, bool) {
		return network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
			arrived <- f
			<-ctx.Done()
			return context.Cause(ctx)
		}), true
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	e := families()[0]
	w.Send(netstacktest.SYN(e.src, e.dst, isn).Bytes())
	f := <-arrived
	cancel()
	if err := <-ran; err != nil {
		t.Fatalf("Run: %v", err)
	}
	if err := context.Cause(f.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("flow ended with %v", err)
	}
	s.Close()
	if err := s.Run(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("second Run: %v", err)
	}
}

func TestConfig(t *testing.T) {
	for i, c := range []Config{
		{MaxFlows: -1}, {MaxPendingConnects: -1}, {MaxPendingPerSource: -1},
		{MaxPendingConnects: maxSilent}, {UDPListener: "udp"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			if _, err := New(c, Deps{}); err == nil {
				t.Error("accepted")
			}
		})
	}
	s, err := New(Config{}, Deps{}) // no device, never run
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}
