package tunnel

import (
	"context"
	"errors"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// errUnanswered is a handler that returned without saying yes or no.
var errUnanswered = errors.New("the handler answered nothing")

// Serve hands a terminated CONNECT, unanswered, to the handler of an internal
// listener, on a goroutine of its own. It returns when the handler has
// answered: after its Accept with what hcm needs to go on, after its Reject
// with the cause, when the handler has returned. When ctx ends first the
// handler's flow ends with it. The caller must call Established exactly once
// and await Done.
func Serve(ctx context.Context, h network.Handler, info *network.StreamInfo) (*codec.ServedFlow, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	f := &servedFlow{
		info: info, ctx: ctx, cancel: cancel,
		answer: make(chan error, 1), established: make(chan establishment, 1), done: make(chan struct{}),
	}
	go f.run(h)                         // awaited through done by us, or by hcm after an Accept
	err := <-f.answer                   // the handler watches ctx, and answers when it ends
	if err == nil && ctx.Err() != nil { // it said yes to somebody who is gone
		err = context.Cause(ctx)
		f.establish(nil, err)
	}
	if err != nil {
		<-f.done
		return nil, err
	}
	return &codec.ServedFlow{Established: f.establish, Done: f.done}, nil
}

// servedFlow is a CONNECT as a network.Flow.
type servedFlow struct {
	info   *network.StreamInfo
	ctx    context.Context // the exchange's, ends also when the handler returns
	cancel context.CancelCauseFunc

	answer      chan error // one value: nil for yes
	established chan establishment
	done        chan struct{}

	// owned by the handler's goroutine
	answered bool
	conn     network.Conn
	connErr  error
}

type establishment struct {
	conn network.Conn
	err  error
}

func (f *servedFlow) run(h network.Handler) {
	defer close(f.done)
	err := h.ServeFlow(f.ctx, f)
	if err == nil {
		err = errUnanswered
	}
	f.Reject(err) // only if it has not answered
	f.cancel(err)
}

func (f *servedFlow) establish(c network.Conn, err error) { f.established <- establishment{c, err} }

// Info implements network.Flow.
func (f *servedFlow) Info() *network.StreamInfo { return f.info }

// Context implements network.Flow.
func (f *servedFlow) Context() context.Context { return f.ctx }

// Accept lets the 2xx go out and waits until it has. It does not give up with
// ctx: hcm always establishes, if only with an error, and a stream handed to
// nobody would stay open.
func (f *servedFlow) Accept(context.Context) (network.Conn, error) {
	if f.answered {
		return f.conn, f.connErr
	}
	f.answered = true
	f.answer <- nil
	e := <-f.established
	f.conn, f.connErr = e.conn, e.err
	if e.err == nil {
		f.info.Mark(network.StepAccepted)
	}
	return f.conn, f.connErr
}

// Reject implements network.Flow.
func (f *servedFlow) Reject(cause error) {
	if f.answered {
		return
	}
	f.answered, f.connErr = true, cause
	if f.info.Cause == nil {
		f.info.Fail(cause)
	}
	f.info.Mark(network.StepRejected)
	f.answer <- cause
}
