package h1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// ClientConn is a connection in the role of the client. Its methods are safe
// from any goroutine.
type ClientConn struct {
	conn
	done chan struct{}

	mu       sync.Mutex
	changed  sync.Cond
	current  *stream
	opened   uint64 // requests sent
	behind   bool   // the last one was a tunnel's, whose end says nothing of what the server has read
	draining bool
	closed   bool
	parting  bool  // closed, but for what is still under way to the server: Run closes
	err      error // why, nil if in order
}

// NewClientConn makes a client of nc, which it owns from the call of Run on, or
// from the first OpenStream. It starts nothing.
func NewClientConn(nc network.Conn, cfg Config) *ClientConn {
	cc := &ClientConn{done: make(chan struct{})}
	cc.init(nc, cfg, false)
	cc.changed.L = &cc.mu
	return cc
}

// Run watches over the connection until its end and returns why it ended, nil
// if that was in order. While no exchange is under way nothing may come from the
// server: bytes end the connection, as its end does, and IdleTimeout. When ctx
// ends the connection is closed with its cause. It is called once.
func (cc *ClientConn) Run(ctx context.Context) error {
	defer close(cc.done)
	stop := context.AfterFunc(ctx, func() { cc.Close(context.Cause(ctx)) })
	defer stop()
	cc.mu.Lock()
	defer cc.mu.Unlock()
	for !cc.closed {
		if cc.current != nil {
			cc.changed.Wait()
			continue
		}
		_ = cc.clock.set(after(cc.cfg.IdleTimeout)) // fails only on a closed connection
		cc.mu.Unlock()
		err := cc.in.watch()
		cc.mu.Lock()
		if cc.current == nil {
			cc.idleEndedLocked(err)
		}
	}
	if cc.parting {
		cc.mu.Unlock()
		network.AwaitSent(cc.nc, sentWait, nil)
		cc.mu.Lock()
		cc.endLocked()
	}
	return cc.err
}

// Done is closed when Run is over.
func (cc *ClientConn) Done() <-chan struct{} { return cc.done }

// idleEndedLocked ends a connection that was not left alone while idle. If an
// exchange began meanwhile and ended, err may be of that time.
func (cc *ClientConn) idleEndedLocked(err error) {
	switch {
	case err == nil && cc.in.buffered() == 0:
	case err == nil:
		cc.closeLocked(lost(ErrUnasked))
	case errors.Is(err, os.ErrDeadlineExceeded):
		if cc.cfg.IdleTimeout > 0 {
			cc.partLocked(nil)
		}
	case errors.Is(err, io.EOF):
		cc.closeLocked(nil)
	default:
		cc.closeLocked(err)
	}
}

// closeLocked ends the connection without an exchange.
func (cc *ClientConn) closeLocked(err error) {
	if cc.closed {
		return
	}
	cc.closed, cc.err = true, err
	cc.changed.Broadcast()
	cc.endLocked()
}

func (cc *ClientConn) endLocked() {
	if cc.err != nil {
		cc.nc.Abort(cc.err)
		return
	}
	_ = cc.nc.CloseWrite() // over TLS its own word for the end
	_ = cc.nc.Close()
}

// partLocked is closeLocked that lets an exchange that was whole arrive before
// it: its last bytes may still be under way, a reset would overtake them, and
// over TLS a close is one.
func (cc *ClientConn) partLocked(err error) {
	if cc.closed {
		return
	}
	if network.Unsent(cc.nc) == 0 {
		cc.closeLocked(err)
		return
	}
	cc.closed, cc.parting, cc.err = true, true, err
	cc.changed.Broadcast()
	cc.clock.wake() // Run, if it watches
}

// sentWait is how long a server may take to acknowledge what was sent before
// the connection is ended nevertheless.
const sentWait = 10 * time.Second

// Close ends the connection and its exchange at once; cause is in the chain of
// what it is told. It does not wait.
func (cc *ClientConn) Close(cause error) {
	cc.mu.Lock()
	st, first := cc.current, !cc.closed
	if first && st == nil {
		cc.closeLocked(nil)
	}
	parting := cc.parting
	cc.closed = true
	cc.changed.Broadcast()
	cc.mu.Unlock()
	if cause == nil {
		cause = ErrConnClosed
	}
	if parting {
		cc.nc.Abort(cause)
	}
	if !first || st == nil {
		return
	}
	st.connLost(&network.ResetError{Err: fmt.Errorf("connection closed: %w", cause)})
	cc.nc.Abort(cause)
}

// Drain takes no new exchanges and closes the connection behind the one under
// way.
func (cc *ClientConn) Drain() {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	cc.draining = true
	if cc.current == nil {
		cc.partLocked(nil)
	}
}

// CanOpen reports whether OpenStream would find the connection free and whole
// now.
func (cc *ClientConn) CanOpen() bool {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	return cc.freeLocked() == nil
}

// Reusable is CanOpen: after a stream was closed, whether another may be opened.
func (cc *ClientConn) Reusable() bool { return cc.CanOpen() }

// ActiveStreams is 1 while an exchange is under way, else 0.
func (cc *ClientConn) ActiveStreams() int {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if cc.current != nil {
		return 1
	}
	return 0
}

// freeLocked is why no exchange can begin; nil if one can.
func (cc *ClientConn) freeLocked() error {
	switch {
	case cc.closed:
		return ErrConnClosed
	case cc.current != nil:
		return ErrBusy
	case cc.draining:
		return ErrDraining
	case cc.in.buffered() > 0, cc.in.ended() != nil: // it was not left alone
		return ErrConnClosed
	}
	return nil
}

// OpenStream begins an exchange and sends req's head. An error with
// codec.ErrNotProcessed in its chain says that another connection may be tried.
func (cc *ClientConn) OpenStream(ctx context.Context, req *codec.Request) (codec.ClientStream, error) {
	st, buf, err := cc.begin(ctx, req)
	if err != nil {
		return nil, err
	}
	n, err := cc.nc.Write(buf)
	st.wroteHead(n)
	cc.out.keep(buf)
	if err == nil {
		return st, nil
	}
	_ = st.didWrite(err, true)
	_ = st.Close()
	err = fmt.Errorf("request head: %w", writeError(err))
	if n == 0 {
		err = errors.Join(err, ErrConnClosed) // the server cannot have seen it
	}
	return nil, err
}

// begin takes the connection for an exchange.
func (cc *ClientConn) begin(ctx context.Context, req *codec.Request) (*clientStream, []byte, error) {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if err := cc.freeLocked(); err != nil {
		return nil, nil, err
	}
	if stale(cc.nc) {
		cc.closeLocked(nil)
		return nil, nil, ErrConnClosed
	}
	buf, body, err := cc.appendRequest(cc.out.buffer(), req)
	if err != nil {
		return nil, nil, fmt.Errorf("request head: %w", err)
	}
	cc.opened++
	st := &clientStream{cc: cc, reused: cc.opened > 1, behind: cc.behind, stream: &stream{
		c: &cc.conn, id: cc.opened, head: req, proto: codec.HTTP11,
		tunnel: req.AsksTunnel(), base: background, out: body,
		wire: &network.WireMeter{},
	}}
	cc.in.charge(st.wire)
	st.last = st.tunnel || (cc.cfg.MaxRequests > 0 && cc.opened >= uint64(cc.cfg.MaxRequests))
	st.sendEnd = !st.tunnel && req.EndStream
	st.block = cc.newHead()
	cc.current = st.stream
	_ = cc.clock.set(time.Time{}) // fails only on a closed connection, which the write finds
	return st, buf, nil
}

// finished takes the connection back from an exchange whose stream is closed. One
// that was withdrawn has not aborted it yet.
func (cc *ClientConn) finished(st *clientStream) {
	st.mu.Lock()
	whole := st.sendEnd && st.recvEnd && !st.aborted
	again := whole && !st.last && st.recvErr == nil && st.sendErr == nil
	cause, withdrawn := st.cause, st.withdrawn
	st.mu.Unlock()

	cc.mu.Lock()
	defer cc.mu.Unlock()
	if cc.current != st.stream {
		return
	}
	cc.current = nil
	cc.behind = st.head.Repeatable
	cc.in.charge(nil)
	_ = cc.clock.set(time.Time{})
	switch {
	case again && !cc.draining && cc.in.buffered() == 0 && cc.in.ended() == nil && !cc.closed:
	case whole:
		cc.partLocked(nil)
	case withdrawn:
		cc.partLocked(cause)
	default:
		cc.closeLocked(cause)
	}
	cc.changed.Broadcast()
}
