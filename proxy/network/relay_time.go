package network

import "time"

// resetGrace is how long the bytes that a broken side had sent may rest on
// their way before the flow is aborted.
const resetGrace = 10 * time.Second

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
	wait = r.soonerLocked(wait)
	if r.timer == nil {
		r.timer = time.AfterFunc(wait, r.onTimer)
		return
	}
	r.timer.Reset(wait)
}

// idleLocked is the idle bound of this moment and what it ends the flow with.
func (r *relay) idleLocked() (time.Duration, error) {
	idle := r.opt.IdleTimeout
	if r.halves == 1 && r.opt.HalfCloseTimeout > 0 {
		idle = r.opt.HalfCloseTimeout
	}
	if r.failed != nil && (idle == 0 || idle > resetGrace) {
		return resetGrace, r.failed
	}
	return idle, ErrIdleTimeout
}

// soonerLocked makes the timer look twice within an idle bound, so that what
// stirs is seen.
func (r *relay) soonerLocked(wait time.Duration) time.Duration {
	if idle, _ := r.idleLocked(); idle > 0 {
		return min(wait, atLeast1(idle/2))
	}
	return wait
}

// stirsLocked reports that bytes which were handed to the kernel, or to a stream, have
// moved since it was last asked. A write that is slow to be taken counts when it
// has been, which may be long after the peer has begun to read it.
func (r *relay) stirsLocked() bool {
	unsent := Unsent(r.down.Conn) + Unsent(r.up.Conn)
	touched := r.opt.Meter.active.Load()
	before, wasTouched := r.unsent, r.touched
	r.unsent, r.touched = unsent, touched
	// More of it is no news where what made it more has been counted.
	return unsent < before || unsent > before && touched == wasTouched
}

// untilLocked is the time until the nearest bound and its error; 0 if there is
// no bound.
func (r *relay) untilLocked() (time.Duration, error) {
	var wait time.Duration
	var err error
	if idle, cause := r.idleLocked(); idle > 0 {
		wait, err = atLeast1(idle-r.opt.Meter.Idle()), cause
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
	if r.stirsLocked() {
		r.opt.Meter.Touch()
	}
	wait, err := r.untilLocked()
	if wait > 1 {
		r.timer.Reset(r.soonerLocked(wait))
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	r.abort(err)
}
