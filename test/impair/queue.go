package impair

import (
	"container/heap"
	"sync"
	"time"
)

// packet is under way.
type packet struct {
	due   time.Time
	order uint64 // of arrival, among those that are due at once
	bytes []byte
}

// queue holds the packets of a direction until they are due. One goroutine puts,
// one takes.
type queue struct {
	wake chan struct{} // holds one: the first that is due may be another

	mu      sync.Mutex
	packets packetHeap
	held    int64 // bytes
	arrived uint64
	closed  bool
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// put adds a packet unless more than limit bytes would be held.
func (q *queue) put(b []byte, due time.Time, limit int64) bool {
	q.mu.Lock()
	if q.closed || q.held+int64(len(b)) > limit {
		q.mu.Unlock()
		return false
	}
	q.arrived++
	heap.Push(&q.packets, packet{due: due, order: q.arrived, bytes: b})
	q.held += int64(len(b))
	first := q.packets[0].order == q.arrived
	q.mu.Unlock()
	if first {
		q.rouse()
	}
	return true
}

// take waits until packets are due and appends them to batch, in their order;
// it is nil once the queue is closed.
func (q *queue) take(batch [][]byte, most int) [][]byte {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		batch, next, open := q.due(batch, most)
		switch {
		case !open:
			return nil
		case len(batch) > 0:
			return batch
		case next.IsZero():
			<-q.wake
		default:
			timer.Reset(time.Until(next))
			select {
			case <-q.wake:
			case <-timer.C:
			}
		}
	}
}

// due appends what is due; next is when there is more, zero if nothing is held.
func (q *queue) due(batch [][]byte, most int) (_ [][]byte, next time.Time, open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for len(q.packets) > 0 && len(batch) < most {
		if q.packets[0].due.After(now) {
			next = q.packets[0].due
			break
		}
		b := heap.Pop(&q.packets).(packet).bytes
		q.held -= int64(len(b))
		batch = append(batch, b)
	}
	return batch, next, !q.closed
}

// close ends take; what is held is dropped.
func (q *queue) close() {
	q.mu.Lock()
	q.closed, q.packets, q.held = true, nil, 0
	q.mu.Unlock()
	q.rouse()
}

func (q *queue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// packetHeap has the packet that is due first at its top.
type packetHeap []packet

func (h packetHeap) Len() int { return len(h) }

func (h packetHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].order < h[j].order
	}
	return h[i].due.Before(h[j].due)
}

func (h packetHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *packetHeap) Push(x any) { *h = append(*h, x.(packet)) }

// Pop is for package heap.
func (h *packetHeap) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = packet{} // so that its bytes are not kept
	*h = (*h)[:last]
	return p
}
