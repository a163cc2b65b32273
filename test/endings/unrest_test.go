package endings

import (
	"sync"
	"time"
)

// unrest tells when the gateway was not there. It changes before the gateway is
// killed, and again when it is back.
type unrest struct {
	mu    sync.Mutex
	n     epoch
	since time.Time // of the last change
}

// epoch is a time between two changes; in odd ones there is no gateway.
type epoch int64

// first is the epoch of the first gateway, before which there was none that
// anything could be left of.
const first epoch = 2

// newUnrest begins without a gateway.
func newUnrest() *unrest { return &unrest{n: first - 1} }

func (u *unrest) now() epoch { e, _ := u.age(); return e }

// age is how long it has been so, too.
func (u *unrest) age() (epoch, time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.n, time.Since(u.since)
}

func (u *unrest) change() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.n++
	u.since = time.Now()
}

// calm reports that the gateway was there all the time.
func calm(from, to epoch) bool { return from == to && from%2 == 0 }
