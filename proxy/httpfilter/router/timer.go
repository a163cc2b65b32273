package router

import (
	"sync"
	"time"

	"culvert/proxy/codec"
)

// responseTimer resets the upstream stream when its answer takes too long: it
// runs from the end of the request to the end of the response, or of a tunnel's
// handshake.
type responseTimer struct {
	after time.Duration // 0: never
	fire  func()

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

func newResponseTimer(s codec.ClientStream, after time.Duration) *responseTimer {
	return &responseTimer{after: after, fire: func() { s.Reset(codec.CodeCancel, responseTimeout()) }}
}

// start arms the timer unless it was stopped.
func (t *responseTimer) start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.after > 0 && !t.stopped && t.timer == nil {
		t.timer = time.AfterFunc(t.after, t.fire)
	}
}

// stop disarms it for good.
func (t *responseTimer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
