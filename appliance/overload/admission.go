package overload

import (
	"context"
	"sync"

	"culvert/proxy/network"
)

// admission lets newcomers in, no more between two looks than there is room for
// if each comes to hold as much as it may: what it holds is seen only later. The
// others wait for the next look.
type admission struct {
	mu      sync.Mutex
	bounded bool    // else anybody may come in
	room    int     // for newcomers until the next look
	came    int     // since the last look
	due     float64 // that came lately and may not hold yet what they will
	waiting int
	next    chan struct{} // closed with the next look; nil while nobody waits
}

// dueShare is the part of the newcomers that is taken to have still to come into
// what they will hold, from one look to the next.
const dueShare = 0.85

// await returns when a newcomer may come in. ErrOverload says that it may not.
func (m *Manager) await(ctx context.Context, a action) error {
	for m.maxHeap.Load() > 0 {
		if m.states[a].hits() {
			return network.ErrOverload
		}
		looked := m.admission.enter()
		if looked == nil {
			m.comes()
			return nil
		}
		m.hurryUp()
		select {
		case <-looked:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// enter takes a place, or returns what to wait for.
func (d *admission) enter() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bounded && d.room <= 0 {
		d.waiting++
		if d.next == nil {
			d.next = make(chan struct{})
		}
		return d.next
	}
	d.room--
	d.came++
	return nil
}

// renew says how many places there are from now on, less those that are due: of
// the flows that are still there, since one that is over comes into nothing.
// There is always one: whether it was one too many is then seen.
func (d *admission) renew(places, flows int, bounded bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bounded = bounded
	d.due = min(dueShare*d.due+float64(d.came), float64(max(flows-d.waiting, 0)))
	d.came, d.waiting, d.room = 0, 0, max(places-int(d.due), 1)
	if d.next != nil {
		close(d.next)
		d.next = nil
	}
}

// awaited reports whether newcomers wait.
func (d *admission) awaited() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.next != nil
}

// places is how many newcomers there is room for below the pressure at which they
// are refused; false: any number.
func (m *Manager) places(c Config, used uint64) (int, bool) {
	until := 1.0
	bounded := false
	for _, a := range []action{rejectConnections, stopRequests} {
		if t := c.triggers[a]; t.on {
			until, bounded = min(until, t.begins), true
		}
	}
	if c.maxHeap == 0 || !bounded {
		return 0, false
	}
	free := int(until*float64(c.maxHeap)) - int(used)
	return free / (buffersEach * fullBuffer(c.maxHeap)), true
}

// buffersEach is how many buffers a newcomer may fill: what is received that
// nobody takes, what is sent that nobody reads, and what is on its way between
// them.
const buffersEach = 3
