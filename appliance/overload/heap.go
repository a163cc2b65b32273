package overload

import (
	"runtime"
	"runtime/metrics"
)

// usage is what the process holds, bytes.
type usage struct {
	live    uint64 // what the last collection found to be in use
	objects uint64 // that, and what was allocated since
	rest    uint64 // stacks and what the runtime needs itself
	cycles  uint64 // collections so far
}

// known is what is in use for certain, as of the last collection.
func (u usage) known() uint64 { return u.live + u.rest }

// atMost is what may be in use: some of it may be garbage.
func (u usage) atMost() uint64 { return max(u.objects, u.live) + u.rest }

// heap looks at the memory of the process. Between collections, what is garbage
// is not known; and with a memory limit the runtime's total is always near it.
type heap struct{ samples []metrics.Sample }

// Those of samples, in their order.
const (
	sampleLive = iota
	sampleObjects
	sampleCycles
	sampleTotal
	sampleFree // these and the next are no part of rest
	sampleUnused
	sampleReleased
)

func newHeap() *heap {
	h := &heap{}
	for _, name := range []string{
		"/gc/heap/live:bytes", "/memory/classes/heap/objects:bytes", "/gc/cycles/total:gc-cycles",
		"/memory/classes/total:bytes", "/memory/classes/heap/free:bytes",
		"/memory/classes/heap/unused:bytes", "/memory/classes/heap/released:bytes",
	} {
		h.samples = append(h.samples, metrics.Sample{Name: name})
	}
	return h
}

// look reads what is in use; it takes microseconds.
func (h *heap) look() usage {
	metrics.Read(h.samples)
	v := func(i int) uint64 { return h.samples[i].Value.Uint64() }
	return usage{
		live: v(sampleLive), objects: v(sampleObjects), cycles: v(sampleCycles),
		rest: v(sampleTotal) - v(sampleObjects) - v(sampleFree) - v(sampleUnused) - v(sampleReleased),
	}
}

// collect finds out what is garbage.
func (h *heap) collect() { runtime.GC() }
