package network

import (
	"sync"
	"time"
)

// Deadline is a point in time to wait for together with other things. The zero
// value never passes.
type Deadline struct {
	mu      sync.Mutex
	timer   *time.Timer
	changes uint64        // times it was set; the timer of an earlier time is stale
	done    chan struct{} // closed when it has passed; nil: nobody asked yet
}

// Set moves the deadline, for whoever waits too; the zero time takes it away.
func (d *Deadline) Set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changes++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.done == nil || isClosed(d.done) {
		d.done = make(chan struct{})
	}
	switch wait := time.Until(t); {
	case t.IsZero():
	case wait <= 0:
		close(d.done)
	default:
		change := d.changes
		d.timer = time.AfterFunc(wait, func() { d.expire(change) })
	}
}

// expire ends the wait, unless set was faster than its timer.
func (d *Deadline) expire(change uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changes == change && !isClosed(d.done) {
		close(d.done)
	}
}

// Passed is closed when the deadline has passed. It is asked for anew before
// each wait.
func (d *Deadline) Passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		d.done = make(chan struct{})
	}
	return d.done
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
