package network

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// RelayOptions bound a relay in time. Zero means no bound.
type RelayOptions struct {
	// Meter counts the bytes; required.
	Meter *Meter
	// IdleTimeout aborts both sides when no byte has moved either way for so
	// long.
	IdleTimeout time.Duration
	// HalfCloseTimeout replaces IdleTimeout once one direction has ended.
	HalfCloseTimeout time.Duration
	// MaxDuration aborts both sides after so long in all.
	MaxDuration time.Duration
}

// Errors that end a relay from within. They answer errors.Is.
var (
	ErrIdleTimeout = errors.New("idle timeout")
	ErrMaxDuration = errors.New("maximum connection duration reached")
)

// End says how one side's sending direction ended.
type End uint8

// The ways a direction can end.
const (
	EndOpen  End = iota // still open when the relay was aborted from elsewhere
	EndFIN              // the side finished: FIN, END_STREAM, close_notify
	EndReset            // the side reset
	EndError            // reading from it or writing to it failed otherwise
)

func (e End) String() string { return [...]string{"open", "fin", "reset", "error"}[e] }

// RelayResult says how each side ended and why the relay stopped; Err is nil if
// both finished cleanly.
type RelayResult struct {
	Downstream, Upstream End
	Err                  error
}

// Relay moves bytes both ways until both sides are done, and closes both, after
// an abort too. EOF
// on one side is CloseWrite on the other and the reverse direction flows on; a
// reset or an error of one side aborts both, after what it had sent before is
// delivered. Canceling ctx aborts both with its cause. It is the only place
// that moves, counts, times and ends a flow.
func Relay(ctx context.Context, downstream, upstream Conn, opt RelayOptions) RelayResult {
	r := newRelay(ctx, downstream, upstream, opt)
	r.run()
	return r.finish()
}

// newRelay is a function of its own so that what waits for a flow's end waits
// on a small stack.
func newRelay(ctx context.Context, downstream, upstream Conn, opt RelayOptions) *relay {
	r := &relay{opt: opt, start: time.Now()}
	r.changed.L = &r.mu
	// Chosen before anything is read: what was read ahead of an end decides.
	r.down.init(downstream, choosePath(downstream, upstream))
	r.up.init(upstream, choosePath(upstream, downstream))
	r.received.init(r, &r.down, &r.up, opt.Meter.Received)
	r.sent.init(r, &r.up, &r.down, opt.Meter.Sent)
	opt.Meter.Touch()
	opt.Meter.relay.Store(r)
	r.within.begin(ctx, r)
	r.watchTime()
	return r
}

// lifeOver is the end of the context that the relay runs in.
func (r *relay) lifeOver(cause error) { go r.abort(cause) } // ends once both sides have been told

type relay struct {
	// immutable
	down, up       side
	received, sent half
	opt            RelayOptions
	start          time.Time
	within         watch // for the end of its context
	halvesLeft     sync.WaitGroup

	// guarded by mu
	mu      sync.Mutex
	changed sync.Cond // a side is read to its end, or the relay aborted
	halves  int       // directions that ended cleanly
	failed  error     // why one side takes no more; what it sent is still delivered
	aborted bool
	cause   error // of the abort
	timer   *time.Timer
	unsent  int   // by both ends, when the timer last looked
	touched int64 // the meter, then
}

// side is one end of a relay and what became of it.
type side struct {
	Conn
	path path // of the direction that reads from it

	// guarded by the relay's mu
	read    bool // that direction has moved all it will
	end     End
	refused error // why it takes no more bytes
}

func endFor(err error) End {
	if IsReset(err) {
		return EndReset
	}
	return EndError
}

func (s *side) init(c Conn, p path) {
	s.Conn, s.path = c, p
}

// setEnd notes how a side ended, once: what follows is its consequence.
func (r *relay) setEnd(s *side, e End) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setEndLocked(s, e)
}

func (r *relay) setEndLocked(s *side, e End) {
	if !r.aborted && (s.end == EndOpen || s.end == EndFIN) {
		s.end = e
	}
}

// refuse notes that s takes no more bytes. What it sent before is still read,
// for as long as that makes progress.
func (r *relay) refuse(s *side, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setEndLocked(s, endFor(err))
	s.refused = err
	if r.failed == nil {
		r.failed = err
	}
	r.opt.Meter.Touch()
	r.armLocked()
}

func (r *relay) refusal(s *side) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.refused
}

// setRead notes that all which s has sent is moved, or none of it will be.
func (r *relay) setRead(s *side) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.read = true
	r.changed.Broadcast()
}

// awaitRead waits until what s has sent is moved, or the relay aborted.
func (r *relay) awaitRead(s *side) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !s.read && !r.aborted {
		r.changed.Wait()
	}
}

func (r *relay) halfDone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.halves++
	if r.opt.HalfCloseTimeout > 0 && !r.aborted {
		r.opt.Meter.Touch()
		r.armLocked()
	}
}

func (r *relay) isAborted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.aborted
}

// abortBehind aborts both once the bytes written to s have arrived, where they
// were sent before a reset.
func (r *relay) abortBehind(s *side, cause error) {
	if IsReset(cause) {
		AwaitSent(s.Conn, sentWait, r.isAborted)
	}
	r.abort(cause)
}

// abort ends both sides, once, with the first cause.
func (r *relay) abort(cause error) {
	r.mu.Lock()
	if r.aborted {
		r.mu.Unlock()
		return
	}
	r.aborted, r.cause = true, cause
	r.changed.Broadcast()
	r.mu.Unlock()
	r.down.Abort(cause)
	r.up.Abort(cause)
}

// finish closes what has ended and says how.
func (r *relay) finish() RelayResult {
	r.opt.Meter.relay.Store(nil)
	r.stopWatch()
	r.within.stop()
	r.mu.Lock()
	res := RelayResult{Downstream: r.down.end, Upstream: r.up.end, Err: r.cause}
	r.mu.Unlock()
	// Both directions have ended: nothing is left to fail, or to count. After an
	// abort it says only that.
	_ = r.down.Close()
	_ = r.up.Close()
	return res
}

// sentWait bounds how long a reset waits behind the bytes sent before it.
const sentWait = 2 * time.Second

// CopyStream moves src to dst through a pooled buffer until EOF, for ends that
// are not both Conns. It returns the bytes moved.
func CopyStream(dst io.Writer, src io.Reader) (int64, error) {
	c := NewChunk(ChunkLarge)
	defer c.Release()
	return io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, c.Space())
}
