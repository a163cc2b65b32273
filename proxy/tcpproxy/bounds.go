package tcpproxy

import (
	"sync"
	"time"

	"culvert/proxy/network"
)

// bounds end a flow that somebody else relays, an internal listener's filter,
// when this session's idle timeout or duration is reached. It runs no goroutine
// while the flow is quiet.
type bounds struct {
	mu    sync.Mutex
	timer *time.Timer // nil: none runs
	cause error       // what was reached
}

// start watches the flow that m meters and c carries. A filter that moves no
// bytes through m, as one that speaks HTTP, is bounded by its duration only.
func (b *bounds) start(s *session, c network.Conn, m *network.Meter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait, _ := s.left(m)
	if wait == 0 {
		return
	}
	b.timer = time.AfterFunc(wait, func() { b.check(s, c, m) })
}

func (b *bounds) check(s *session, c network.Conn, m *network.Meter) {
	b.mu.Lock()
	if b.timer == nil {
		b.mu.Unlock()
		return
	}
	wait, cause := s.left(m)
	if wait > 0 {
		b.timer.Reset(wait)
		b.mu.Unlock()
		return
	}
	b.timer, b.cause = nil, cause
	b.mu.Unlock()
	c.Abort(cause)
}

// stop ends the watch; it is called once the flow is over.
func (b *bounds) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
}

// reached is the bound that ended the flow, nil if none did.
func (b *bounds) reached() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cause
}

// left is the time until a bound may be reached, and 0 with the bound when it
// is; 0 and nil if there is none.
func (s *session) left(m *network.Meter) (time.Duration, error) {
	var wait time.Duration
	if s.idle > 0 {
		if wait = s.idle - m.Idle(); wait <= 0 {
			return 0, network.ErrIdleTimeout
		}
	}
	if s.duration > 0 {
		rest := s.duration - time.Since(s.began)
		if rest <= 0 {
			return 0, network.ErrMaxDuration
		}
		if wait == 0 || rest < wait {
			wait = rest
		}
	}
	return wait, nil
}
