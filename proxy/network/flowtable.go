package network

import (
	"slices"
	"sync"
	"sync/atomic"
)

// endedKept is how many ended flows the table remembers: enough to see what
// just happened, small enough to forget.
const endedKept = 256

// FlowTable is the set of live flows and the last ended ones. It is safe from
// any goroutine. Create it with NewFlowTable.
type FlowTable struct {
	ids atomic.Uint64

	mu    sync.Mutex
	live  map[*StreamInfo]struct{}
	ended []*StreamInfo // ring, oldest overwritten
	next  int
}

// NewFlowTable makes an empty table.
func NewFlowTable() *FlowTable {
	return &FlowTable{live: make(map[*StreamInfo]struct{})}
}

// NextID numbers flows, connections and streams, from 1.
func (t *FlowTable) NextID() uint64 { return t.ids.Add(1) }

// Add publishes info and makes it visible. The caller owns info and calls
// Remove when the flow has ended.
func (t *FlowTable) Add(info *StreamInfo) {
	info.Publish()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live[info] = struct{}{}
}

// Remove publishes the end and moves info to the ended ones.
func (t *FlowTable) Remove(info *StreamInfo) {
	info.Mark(StepEnded)
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.live[info]; !ok {
		return
	}
	delete(t.live, info)
	if len(t.ended) < endedKept {
		t.ended = append(t.ended, info)
		return
	}
	t.ended[t.next] = info
	t.next = (t.next + 1) % endedKept
}

// Flows is how many of the live ones carry somebody's bytes: an HTTP connection
// is none beside its exchanges.
func (t *FlowTable) Flows() int {
	n := 0
	for _, info := range t.Live() {
		if info.published.kind() != KindConnection {
			n++
		}
	}
	return n
}

// Len is the number of live rows, of every kind.
func (t *FlowTable) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.live)
}

// Live returns the live flows by ID. Only their Meter, Upstream and Snapshot
// may be read.
func (t *FlowTable) Live() []*StreamInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*StreamInfo, 0, len(t.live))
	for info := range t.live {
		out = append(out, info)
	}
	slices.SortFunc(out, byID)
	return out
}

// Ended returns the last ended flows by ID.
func (t *FlowTable) Ended() []*StreamInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := slices.Clone(t.ended)
	slices.SortFunc(out, byID)
	return out
}

func byID(a, b *StreamInfo) int {
	switch {
	case a.ID < b.ID:
		return -1
	case a.ID > b.ID:
		return 1
	}
	return 0
}
