package netstack

import (
	"sync"

	"culvert/netstack/link"
)

// noDevice is a device from which no packet comes: the stack of a gateway that
// captures nothing.
type noDevice struct {
	once sync.Once
	done chan struct{}
}

func newNoDevice() *noDevice { return &noDevice{done: make(chan struct{})} }

func (d *noDevice) Batch() int { return 1 }

func (d *noDevice) MTU() int { return 1500 }

func (d *noDevice) Read([]link.Frame) (int, error) {
	<-d.done
	return 0, link.ErrInterrupted
}

func (d *noDevice) Write(link.Header, [][]byte) error { return nil }

func (d *noDevice) Interrupt() { d.once.Do(func() { close(d.done) }) }
