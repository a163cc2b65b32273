package internallisteners

import (
	"context"
	"errors"
	"sync"

	"culvert/proxy/network"
)

// errUnanswered is a handler that returned without a yes or no.
var errUnanswered = errors.New("the internal listener did not answer")

// Dial connects to an internal listener's handler through a pipe, for a client
// that writes bytes itself. info is the inner flow's, its addresses set. Dial
// returns after the handler's Accept with the client's end, or with the cause
// of its Reject. ctx bounds the wait, and ends the handler if it ends before
// the answer; life is the handler's context afterwards. The handler runs on a
// goroutine of its own and ends with the pipe; done, which may be nil, is
// called when it has.
func Dial(ctx, life context.Context, h network.Handler, info *network.StreamInfo, size int, done func(error)) (network.Conn, error) {
	client, server := NewPipe(size, info.RemoteAddress, network.InternalAddress(info.DirectLocalAddress.Name, info.DirectLocalAddress.ID))
	f := &pipeFlow{info: info, conn: server, answer: make(chan error, 1)}
	f.ctx, f.cancel = context.WithCancelCause(life)
	stop := context.AfterFunc(ctx, func() { f.give(context.Cause(ctx)) })
	go f.run(h, done) // ends with the pipe, or with life
	err := <-f.answer
	if err == nil && !stop() { // ctx ended in the same moment: the caller has gone
		err = context.Cause(ctx)
	}
	if err != nil {
		stop()
		client.Abort(err)
		return nil, err
	}
	return client, nil
}

// pipeFlow is a dial as a network.Flow.
type pipeFlow struct {
	info   *network.StreamInfo
	conn   network.Conn
	ctx    context.Context // the handler's; ends when nobody waits any longer
	cancel context.CancelCauseFunc
	answer chan error // one value

	mu       sync.Mutex
	answered bool
	accepted bool
	err      error
}

func (f *pipeFlow) run(h network.Handler, done func(error)) {
	err := h.ServeFlow(f.ctx, f)
	cause := err
	if cause == nil {
		cause = errUnanswered
	}
	f.Reject(cause)    // only if it has not answered
	_ = f.conn.Close() // silent if both directions have ended, else a reset
	f.cancel(nil)
	if done != nil {
		done(err)
	}
}

// Info implements network.Flow.
func (f *pipeFlow) Info() *network.StreamInfo { return f.info }

// Context implements network.Flow.
func (f *pipeFlow) Context() context.Context { return f.ctx }

// Accept implements network.Flow.
func (f *pipeFlow) Accept(context.Context) (network.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.answered {
		if f.accepted {
			return f.conn, nil
		}
		return nil, f.err
	}
	f.answered, f.accepted = true, true
	f.info.Mark(network.StepAccepted)
	f.answer <- nil
	return f.conn, nil
}

// Reject implements network.Flow.
func (f *pipeFlow) Reject(cause error) {
	if f.refuse(cause) {
		if f.info.Cause == nil {
			f.info.Fail(cause)
		}
		f.info.Mark(network.StepRejected)
	}
}

// give tells the handler that whoever dialled has gone.
func (f *pipeFlow) give(cause error) {
	if f.refuse(cause) {
		f.cancel(cause)
	}
}

// refuse answers no, once; false if it was answered already.
func (f *pipeFlow) refuse(cause error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.answered {
		return false
	}
	f.answered, f.err = true, cause
	f.conn.Abort(cause)
	f.answer <- cause
	return true
}
