package netstack

import (
	"context"
	"errors"
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
				eventually(t, "the flow to end", func() bool { st := r.stack.Stats(); return st.Flows == 0 && st.Pending == 0 })
				if st := r.stack.Stats(); st.SynSeen != 3 || st.SynRetransmitted != 2 {
					t.Errorf("stats %+v", st)
				}
			})
		}
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
