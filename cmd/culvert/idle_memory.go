package main

import (
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// idleLook is how often it is looked whether the process has become idle.
	idleLook = 2 * time.Second
	// idleAllocs is what an idle process allocates between two looks at most,
	// bytes. Bytes that are moved allocate nothing; flows that come and go do.
	idleAllocs = 1 << 20
	// idleWorth is what must have been allocated since memory was last given
	// back, bytes.
	idleWorth = 8 << 20
)

// idleMemory gives memory back once flows have stopped coming and going: what
// was needed to set up ten thousand flows is more than what they need while they
// are idle, and Go's collector keeps it for the next ten thousand.
type idleMemory struct {
	sample             [1]metrics.Sample
	last, lastGiveBack uint64 // bytes allocated in all, then
	giveBack           func()
}

func newIdleMemory(giveBack func()) *idleMemory {
	m := &idleMemory{giveBack: giveBack}
	m.sample[0].Name = "/gc/heap/allocs:bytes"
	return m
}

// keepIdleMemoryLow looks until done is closed.
func keepIdleMemoryLow(done <-chan struct{}) {
	m := newIdleMemory(func() {
		debug.FreeOSMemory() // halves stacks
		debug.FreeOSMemory() // and gives the halves back
	})
	tick := time.NewTicker(idleLook)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			metrics.Read(m.sample[:])
			m.look(m.sample[0].Value.Uint64())
		case <-done:
			return
		}
	}
}

// look is told how many bytes were allocated in all.
func (m *idleMemory) look(allocated uint64) {
	idle := allocated-m.last < idleAllocs
	m.last = allocated
	if idle && allocated-m.lastGiveBack >= idleWorth {
		m.giveBack()
		m.lastGiveBack = allocated
	}
}
