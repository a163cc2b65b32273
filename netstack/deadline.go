package netstack

import (
	"sync"
	"time"
)

// deadline is a point in time to wait for together with other things. The zero
// value never passes.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	done  chan struct{} // closed when it has passed; nil: never set
}

// set moves the deadline; the zero time takes it away. Whoever waits already
// sees it pass, but does not see it moved later: that is only a longer wait
// for a Read that was about to be cut short.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
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
		done := d.done
		d.timer = time.AfterFunc(wait, func() { d.expire(done) })
	}
}

// expire closes the channel the timer was made for, unless set was faster.
func (d *deadline) expire(done chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && d.done == done && !isClosed(done) {
		close(done)
	}
}

// passed is closed when the deadline has passed. A Read takes it anew each
// time it waits.
func (d *deadline) passed() <-chan struct{} {
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
