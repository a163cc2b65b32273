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

// Relay moves bytes both ways until both sides are done, and closes both. EOF
// on one side is CloseWrite on the other and the reverse direction flows on; a
// reset or an error of one side aborts both, after what it had sent before is
// delivered. Canceling ctx aborts both with its cause. It is the only place
// that moves, counts, times and ends a flow.
func Relay(ctx context.Context, downstream, upstream Conn, opt RelayOptions) RelayResult {
	r := &relay{down: downstream, up: upstream, opt: opt, start: time.Now()}
	opt.Meter.Touch()
	stop := context.AfterFunc(ctx, func() { r.abort(context.Cause(ctx)) })
	defer stop()
	r.watchTime()
	defer r.stopWatch()

	var wg sync.WaitGroup
	wg.Go(r.upstreamToDownstream) // ends with its source, or when both are aborted
	r.downstreamToUpstream()
	wg.Wait()
	r.finish()
	return r.result
}

type relay struct {
	// immutable
	down, up Conn
	opt      RelayOptions
	start    time.Time

	mu      sync.Mutex
	result  RelayResult
	halves  int // directions that ended cleanly
	aborted bool
	timer   *time.Timer
}

func (r *relay) downstreamToUpstream() {
	r.direction(r.down, r.up, r.opt.Meter.Received, &r.result.Downstream, &r.result.Upstream)
}

func (r *relay) upstreamToDownstream() {
	r.direction(r.up, r.down, r.opt.Meter.Sent, &r.result.Upstream, &r.result.Downstream)
}

// direction moves src to dst and ends dst's sending direction as src's ended.
func (r *relay) direction(src, dst Conn, count func(int), srcEnd, dstEnd *End) {
	path := choosePath(src, dst)
	readErr, writeErr := path.move(count)
	if readErr == nil && writeErr == nil {
		writeErr = dst.CloseWrite()
	}
	switch {
	case readErr != nil:
		r.end(srcEnd, endFor(readErr))
		if IsReset(readErr) {
			waitSent(dst, r.isAborted)
		}
		r.abort(fmt.Errorf("read: %w", readErr))
	case writeErr != nil:
		r.end(dstEnd, endFor(writeErr))
		r.abort(fmt.Errorf("write: %w", writeErr))
	default:
		r.end(srcEnd, EndFIN)
		r.halfDone()
	}
}

func endFor(err error) End {
	if IsReset(err) {
		return EndReset
	}
	return EndError
}

// end notes how a side ended, once: what follows is its consequence.
func (r *relay) end(side *End, e End) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.aborted && (*side == EndOpen || *side == EndFIN) {
		*side = e
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

// abort ends both sides, once, with the first cause.
func (r *relay) abort(cause error) {
	r.mu.Lock()
	if r.aborted {
		r.mu.Unlock()
		return
	}
	r.aborted, r.result.Err = true, cause
	r.mu.Unlock()
	r.down.Abort(cause)
	r.up.Abort(cause)
}

func (r *relay) finish() {
	if !r.isAborted() {
		_ = r.down.Close() // both directions have ended: nothing is left to fail
		_ = r.up.Close()
	}
}

// watchTime arms one timer for the idle and the duration bound; it runs no
// goroutine while the flow is quiet.
func (r *relay) watchTime() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armLocked()
}

func (r *relay) stopWatch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
	}
}

func (r *relay) armLocked() {
	wait, _ := r.untilLocked()
	if wait == 0 {
		return
	}
	if r.timer == nil {
		r.timer = time.AfterFunc(wait, r.onTimer)
		return
	}
	r.timer.Reset(wait)
}

// untilLocked is the time until the nearest bound and its error; 0 if there is
// no bound, negative if it has passed.
func (r *relay) untilLocked() (time.Duration, error) {
	idle := r.opt.IdleTimeout
	if r.halves == 1 && r.opt.HalfCloseTimeout > 0 {
		idle = r.opt.HalfCloseTimeout
	}
	var wait time.Duration
	var err error
	if idle > 0 {
		wait, err = atLeast1(idle-r.opt.Meter.Idle()), ErrIdleTimeout
	}
	if d := r.opt.MaxDuration; d > 0 {
		if left := atLeast1(d - time.Since(r.start)); wait == 0 || left < wait {
			wait, err = left, ErrMaxDuration
		}
	}
	return wait, err
}

// atLeast1 keeps "due" (1 ns) apart from "no bound" (0).
func atLeast1(d time.Duration) time.Duration { return max(d, 1) }

func (r *relay) onTimer() {
	r.mu.Lock()
	if r.aborted || r.halves == 2 {
		r.mu.Unlock()
		return
	}
	wait, err := r.untilLocked()
	if wait > 1 {
		r.timer.Reset(wait)
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	r.abort(err)
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
