package overload

import (
	"context"
	"net"
	"sync"
)

const (
	// flowsWorth is how many flows that nobody reads from the limit has room
	// for: of it, each may buffer that part at a place.
	flowsWorth = 512
	// maxBuffer is what nobody needs more than, minBuffer what is little enough
	// for any number of flows; bytes.
	maxBuffer = 1 << 20
	minBuffer = 64 << 10
)

// DropsConnections reports whether a new connection is to be left unanswered, to
// come again.
func (m *Manager) DropsConnections() bool { return m.states[stopConnections].saturated() }

// RefusesConnections reports whether all new connections are to be refused.
func (m *Manager) RefusesConnections() bool { return m.states[rejectConnections].saturated() }

// AwaitConnection returns when a new connection may come in, or with
// network.ErrOverload where it is to be refused, or when ctx ends.
func (m *Manager) AwaitConnection(ctx context.Context) error { return m.await(ctx, rejectConnections) }

// AwaitRequest is the same of a new request.
func (m *Manager) AwaitRequest(ctx context.Context) error { return m.await(ctx, stopRequests) }

// Buffer is how much a new connection may buffer where nothing else is
// configured, bytes; 0: there is no limit to heed.
func (m *Manager) Buffer() int {
	maxHeap := m.maxHeap.Load()
	switch {
	case maxHeap == 0:
		return 0
	case m.states[shrinkHeap].scale() > 0:
		return minBuffer
	}
	return fullBuffer(maxHeap)
}

// MayGrow reports whether the buffer of a stream may grow beyond that: where there
// is room for the largest and memory is not short. What all of them grow by is
// bounded: to an eighth of the least memory that has this room, a quarter where
// buffers are half empty.
func (m *Manager) MayGrow() bool {
	maxHeap := m.maxHeap.Load()
	return maxHeap == 0 || fullBuffer(maxHeap) == maxBuffer && m.states[shrinkHeap].scale() == 0
}

func fullBuffer(maxHeap uint64) int { return int(min(max(maxHeap/flowsWorth, minBuffer), maxBuffer)) }

// Listener is ln, which accepts nothing while connections are not to be accepted:
// they wait in the kernel's queue.
func (m *Manager) Listener(ln net.Listener) net.Listener {
	return &pausedListener{Listener: ln, resumed: &m.resumed, closed: make(chan struct{})}
}

type pausedListener struct {
	net.Listener
	resumed *waiters
	closed  chan struct{}
	once    sync.Once
}

// Accept waits before it accepts: what it has accepted it returns, or it would be
// lost if the listener closed meanwhile. So one connection may come in that arrives
// first after connections were not to be accepted.
func (l *pausedListener) Accept() (net.Conn, error) {
	select {
	case <-l.resumed.wait():
		return l.Listener.Accept()
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pausedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// waiters wait for a door to be open, as it is at first.
type waiters struct {
	mu     sync.Mutex
	opened chan struct{} // guarded by mu; closed while it is open
	shut   bool          // guarded by mu
}

func (w *waiters) open(yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut != yes {
		return
	}
	w.shut = !yes
	if yes {
		close(w.channelLocked())
		return
	}
	w.opened = make(chan struct{})
}

// wait returns what is closed once the door is open.
func (w *waiters) wait() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.channelLocked()
}

func (w *waiters) channelLocked() chan struct{} {
	if w.opened == nil {
		w.opened = make(chan struct{})
		if !w.shut {
			close(w.opened)
		}
	}
	return w.opened
}
