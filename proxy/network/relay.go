package network

import (
	"context"
	"errors"
	"fmt"
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
	r := &relay{opt: opt, start: time.Now(), over: make(chan struct{})}
	// Chosen before anything is read: what was read ahead of an end decides.
	r.down = side{Conn: downstream, read: make(chan struct{}), to: choosePath(downstream, upstream)}
	r.up = side{Conn: upstream, read: make(chan struct{}), to: choosePath(upstream, downstream)}
	opt.Meter.Touch()
	stop := context.AfterFunc(ctx, func() { r.abort(context.Cause(ctx)) })
	defer stop()
	r.watchTime()
	defer r.stopWatch()

	var wg sync.WaitGroup
	wg.Go(r.upstreamToDownstream) // ends with its source, or when both are aborted
	r.downstreamToUpstream()
	wg.Wait()
	return r.finish()
}

type relay struct {
	// immutable
	down, up side
	opt      RelayOptions
	start    time.Time
	over     chan struct{} // closed by abort

	// guarded by mu
	mu      sync.Mutex
	halves  int   // directions that ended cleanly
	failed  error // why one side takes no more; what it sent is still delivered
	aborted bool
	cause   error // of the abort
	timer   *time.Timer
	unsent  int   // by both ends, when the timer last looked
	touched int64 // the meter, then
}

// side is one end of a relay and what became of it.
type side struct {
	Conn
	read chan struct{} // closed when the direction that reads from it is over
	to   path          // of that direction

	// guarded by the relay's mu
	end     End
	refused error // why it takes no more bytes
}

func (r *relay) downstreamToUpstream() { r.direction(&r.down, &r.up, r.opt.Meter.Received) }

func (r *relay) upstreamToDownstream() { r.direction(&r.up, &r.down, r.opt.Meter.Sent) }

// direction moves src to dst and ends dst's sending direction as src's ended.
func (r *relay) direction(src, dst *side, count func(int)) {
	readErr, writeErr := src.to.move(count)
	if readErr == nil && writeErr == nil {
		// An EOF after a write has failed is no end: the writer was told of the
		// reset in the reader's place.
		if readErr = r.refusal(src); readErr == nil {
			writeErr = dst.CloseWrite()
		}
	}
	close(src.read)
	switch {
	case readErr != nil:
		r.setEnd(src, endFor(readErr))
		r.abortBehind(dst, fmt.Errorf("read: %w", readErr))
	case writeErr != nil:
		r.refuse(dst, writeErr)
		select {
		case <-dst.read: // all that it sent is written to src
		case <-r.over:
		}
		r.abortBehind(src, fmt.Errorf("write: %w", writeErr))
	default:
		r.setEnd(src, EndFIN)
		r.halfDone()
	}
}

func endFor(err error) End {
	if IsReset(err) {
		return EndReset
	}
	return EndError
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
		waitSent(s.Conn, r.isAborted)
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
	close(r.over)
	r.mu.Unlock()
	r.down.Abort(cause)
	r.up.Abort(cause)
}

// finish closes what has ended and says how.
func (r *relay) finish() RelayResult {
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

// waitSent waits until dst's peer has acknowledged what was written, so that a
// reset does not overtake it.
func waitSent(dst Conn, stop func() bool) {
	q, ok := unwrapTo[SendQueue](dst)
	if !ok {
		return
	}
	pause := 100 * time.Microsecond
	for deadline := time.Now().Add(sentWait); q.Unsent() > 0 && time.Now().Before(deadline) && !stop(); {
		time.Sleep(pause) // no event tells of an empty queue on every end
		pause = min(2*pause, 10*time.Millisecond)
	}
}

// unwrapTo finds a T beneath the observers around c.
func unwrapTo[T any](c Conn) (T, bool) {
	for {
		if t, ok := c.(T); ok {
			return t, true
		}
		u, ok := c.(Unwrapper)
		if !ok {
			var none T
			return none, false
		}
		c = u.Unwrap()
	}
}

// CopyStream moves src to dst through a pooled buffer until EOF, for ends that
// are not both Conns. It returns the bytes moved.
func CopyStream(dst io.Writer, src io.Reader) (int64, error) {
	c := NewChunk(ChunkLarge)
	defer c.Release()
	return io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, c.Space())
}
