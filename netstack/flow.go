package netstack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"culvert/proxy/network"
)

// Why a connect ended before it was answered. All of them are the application's
// doing: nobody is left to be told.
var (
	errApplicationReset = network.WithReason(network.ReasonCanceled, errors.New("application sent a reset while connecting"))
	errApplicationGone  = network.WithReason(network.ReasonCanceled, errors.New("application closed its socket while connecting"))
	errSuperseded       = network.WithReason(network.ReasonCanceled, errors.New("application began a new connect from the same port"))
	errHandshake        = network.WithReason(network.ReasonCanceled, errors.New("application did not finish the handshake"))
)

var (
	errTooManyFlows = network.WithReason(network.ReasonOverflow, errors.New("too many flows"))
	errUnanswered   = errors.New("handler returned without an answer")
	errFlowEnded    = errors.New("flow ended")
)

// flow is a captured connect: a network.Flow. Its methods belong to the
// goroutine of serve, but for probe and life's.
type flow struct {
	// immutable
	stack *Stack
	entry *entry
	info  *network.StreamInfo
	life  network.Life // ended by gate, or by serve

	seen atomic.Bool // the application was once seen connecting

	placeGiven bool // guarded by gate.mu

	// owned by serve
	looked   time.Time // when the application was looked for, at first
	conn     *conn
	rejected bool
	lost     error // why Accept failed
}

var _ network.Flow = (*flow)(nil)

func newFlow(s *Stack, e *entry) *flow {
	f := &flow{stack: s, entry: e, info: network.NewStreamInfo(s.flows.NextID())}
	f.life.Begin(s.ctx)
	src, dst := network.IPAddress(source(e.id)), network.IPAddress(destination(e.id))
	f.info.RemoteAddress, f.info.DirectRemoteAddress = src, src
	f.info.LocalAddress, f.info.DirectLocalAddress = dst, dst
	f.info.SetFilterState(network.StateDestination, dst.String())
	f.info.SetFilterState(network.StateDestinationHost, dst.Host())
	f.info.SetFilterState(network.StateDestinationSource, "address")
	return f
}

// serve is the flow's goroutine: it hands the flow to its handler and sees to
// it that it is answered and over when that returns.
//
// Here, and in all that it calls, what is needed only before or after the flow's
// life is in functions of its own: a flow that is idle waits on a stack which the
// garbage collector can halve.
func (f *flow) serve() {
	defer f.stack.serving.Done()
	h, err := f.begin()
	if err == nil {
		err = h.ServeFlow(&f.life, f)
	}
	f.end(err)
}

// begin finds who serves the flow.
func (f *flow) begin() (network.Handler, error) {
	s := f.stack
	s.flows.Add(f.info)
	f.firstProbe()
	if err := s.overload.AwaitConnection(&f.life); err != nil {
		return nil, err
	}
	if h, bound := s.cfg.Bindings.Handler(destination(f.entry.id), s.lookup); bound {
		return h, nil
	}
	h, ok := s.lookup(s.cfg.TCPListener)
	if !ok {
		return nil, network.WithReason(network.ReasonNoCluster, fmt.Errorf("no listener %q", s.cfg.TCPListener))
	}
	return h, nil
}

func (f *flow) end(err error) {
	s := f.stack
	f.finish(err)
	s.flows.Remove(f.info)
	s.log.LogAttrs(context.Background(), slog.LevelDebug, "flow ended",
		slog.Uint64("flow", f.info.ID), slog.Any("err", err))
}

// finish answers what the handler left unanswered and closes what it left open.
func (f *flow) finish(err error) {
	if f.conn == nil && !f.rejected {
		if err == nil {
			err = errUnanswered
		}
		f.Reject(err)
	}
	if f.conn != nil {
		_ = f.conn.Close() // silent if both directions have ended, else a reset
	}
	f.stack.gate.ended(f)
	f.life.End(errFlowEnded)
}

// Info describes the flow.
func (f *flow) Info() *network.StreamInfo { return f.info }

// Context ends when the application gives up, the stack is closed or the flow
// is over.
func (f *flow) Context() context.Context { return &f.life }

// Accept sends the SYN-ACK and waits for the application's ACK.
func (f *flow) Accept(ctx context.Context) (network.Conn, error) {
	switch {
	case f.conn != nil:
		return f.conn, nil
	case f.lost != nil:
		return nil, f.lost
	case f.rejected:
		return nil, errors.New("accept: flow was rejected")
	}
	f.probeAgain()
	c, err := f.stack.handshake(ctx, f)
	if err != nil {
		f.lost = fmt.Errorf("accept %s: %w", f.info.RemoteAddress, err)
		return nil, f.lost
	}
	f.conn = c
	f.stack.gate.answered(f)
	f.stack.counters.accepted.Add(1)
	f.info.Mark(network.StepAccepted)
	return c, nil
}

// Reject tells the application the verdict for cause.
func (f *flow) Reject(cause error) {
	if f.conn != nil || f.rejected || f.lost != nil {
		return
	}
	f.rejected = true
	f.probeAgain()
	v := network.VerdictFor(cause)
	if syn, ok := f.stack.gate.reject(f.entry, v); ok {
		f.stack.counters.verdicts[v].Add(1)
		f.stack.sendVerdict(v, syn)
		syn.DecRef()
	} else if gone := context.Cause(&f.life); gone != nil {
		cause = gone // whatever was found, nobody was told
	}
	if f.info.Cause == nil {
		f.info.Fail(cause)
	}
	f.stack.gate.answered(f)
	f.info.Mark(network.StepRejected)
}

// firstProbe finds out whether the application can be watched. It is one that
// cannot if its socket is not found: it may be on another machine.
func (f *flow) firstProbe() {
	f.looked = f.stack.gate.now()
	if p := f.stack.prober; p != nil && f.probeWith(p) == LivenessAlive {
		f.seen.Store(true)
	}
}

// probeAgain is probe before the application is told something, unless it was
// there just now. One that has gone since answers with RST.
func (f *flow) probeAgain() {
	if f.stack.gate.now().Sub(f.looked) >= stillThere {
		f.probe()
	}
}

// probe cancels the flow if its application was there and no longer is.
func (f *flow) probe() {
	if p := f.stack.prober; p != nil && f.seen.Load() && f.probeWith(p) == LivenessGone {
		f.stack.gate.gone(f.entry)
	}
}

func (f *flow) probeWith(p Prober) Liveness {
	return p.Probe(source(f.entry.id), destination(f.entry.id))
}
