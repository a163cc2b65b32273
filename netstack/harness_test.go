package netstack

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"culvert/netstack/netstacktest"
	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// arrival is a flow in the hands of the handler, which does what the test says.
type arrival struct {
	flow network.Flow
	next chan func(network.Flow) error
	over chan struct{}
}

// finish lets the handler do fn and return, and waits for it.
func (a *arrival) finish(t *testing.T, fn func(network.Flow) error) {
	t.Helper()
	a.next <- fn
	await(t, a.over, "the handler")
}

// awaitCancel waits for the end of the flow's context and returns its cause.
func (a *arrival) awaitCancel(t *testing.T) error {
	t.Helper()
	await(t, a.flow.Context().Done(), "the flow to be canceled")
	return context.Cause(a.flow.Context())
}

func await(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
}

// eventually waits for a condition that nothing signals.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// rig is a stack with a wire at the other end of its device.
type rig struct {
	t        *testing.T
	stack    *Stack
	wire     *netstacktest.Wire
	arrivals chan *arrival
}

// newRig starts a stack whose handler hands each flow to the test.
func newRig(t *testing.T, change func(*Config, *Deps)) *rig {
	t.Helper()
	near, far := netstacktest.NewPair()
	r := &rig{t: t, wire: netstacktest.NewWire(t, near), arrivals: make(chan *arrival, 1000)}
	r.stack = start(t, far, network.HandlerFunc(r.serve), change)
	return r
}

func (r *rig) serve(_ context.Context, f network.Flow) error {
	a := &arrival{flow: f, next: make(chan func(network.Flow) error), over: make(chan struct{})}
	defer close(a.over)
	r.arrivals <- a
	select {
	case fn := <-a.next:
		return fn(f)
	case <-f.Context().Done():
		return context.Cause(f.Context())
	}
}

// start runs a stack until the test ends. change may be nil.
func start(t testing.TB, d *netstacktest.Device, h network.Handler, change func(*Config, *Deps)) *Stack {
	t.Helper()
	cfg := Config{Name: "test", TCPListener: "capture"}
	deps := Deps{Device: d, Lookup: func(name string) (network.Handler, bool) { return h, name == "capture" }}
	if change != nil {
		change(&cfg, &deps)
	}
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

func (r *rig) send(s netstacktest.Segment) { r.t.Helper(); r.wire.Send(s.Bytes()) }

// arrive waits for the next flow.
func (r *rig) arrive() *arrival {
	r.t.Helper()
	select {
	case a := <-r.arrivals:
		return a
	case <-time.After(patience):
		r.t.Fatal("no flow came")
		return nil
	}
}

// quiet checks that nothing answers what was sent before. The stack handles
// packets in order, and answers an ACK that belongs to nothing with RST.
func (r *rig) quiet() {
	r.t.Helper()
	src := netip.AddrPortFrom(netstacktest.HostIPv4, 9)
	dst := netip.MustParseAddrPort("203.0.113.9:9")
	r.send(netstacktest.Segment{Src: src, Dst: dst, Flags: header.TCPFlagAck, Ack: 77})
	if p := r.wire.Next(); p.Src != dst || p.Flags&header.TCPFlagRst == 0 || p.Seq != 77 {
		r.t.Fatalf("want nothing but the answer to the marker, got %+v", p)
	}
}

// noFlow checks that no handler was called for what was sent before.
func (r *rig) noFlow() {
	r.t.Helper()
	r.quiet()
	select {
	case a := <-r.arrivals:
		r.t.Fatalf("unexpected flow from %s", a.flow.Info().RemoteAddress)
	default:
	}
}

// addresses of a connect in both families.
type ends struct {
	name     string
	src, dst netip.AddrPort
}

func families() []ends {
	return []ends{
		{"v4", netip.AddrPortFrom(netstacktest.HostIPv4, 40001), netip.MustParseAddrPort("203.0.113.7:443")},
		{"v6", netip.AddrPortFrom(netstacktest.HostIPv6, 40001), netip.MustParseAddrPort("[2001:db8::7]:443")},
	}
}
