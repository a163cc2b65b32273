package topology

import (
	"runtime"
	"testing"
)

// starter starts the programs of a topology, all on one thread: the kernel
// kills a program whose parent dies (PDEATHSIG) when the thread that started it
// ends, and Go's other threads come and go.
type starter struct {
	work chan func()
}

func newStarter(t testing.TB) *starter {
	s := &starter{work: make(chan func())}
	done := make(chan struct{})
	go func() { // ends when work is closed
		defer close(done)
		// Never unlocked: nobody else starts anything here, and the thread ends
		// with the goroutine.
		runtime.LockOSThread()
		for fn := range s.work {
			fn()
		}
	}()
	// The first of the topology's cleanups, so the last to run: no program of it
	// lives by then.
	t.Cleanup(func() { close(s.work); <-done })
	return s
}

// do runs fn on the thread.
func (s *starter) do(fn func() error) error {
	done := make(chan error, 1)
	s.work <- func() { done <- fn() }
	return <-done
}
