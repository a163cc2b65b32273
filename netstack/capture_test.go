package netstack

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"culvert/netstack/netstacktest"
	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

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
		if got := info.FilterState.Get(name); got != want {
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
	eventually(t, "the reset to be counted", func() bool { return r.stack.Stats().CanceledReset == 1 })
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

func TestClosedGateRefuses(t *testing.T) {
	r := newRig(t, nil)
	e := families()[0]
	if err := r.stack.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.send(netstacktest.SYN(e.src, e.dst, isn))
	told{type4: 3, cd4: 0}.check(t, r, e.src, e.dst)
	eventually(t, "the flow to be counted", func() bool { return r.stack.Stats().FlowsUnwanted == 1 })
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
