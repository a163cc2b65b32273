package network

import (
	"sync"
	"time"
)

// maxSeldom bounds the keys a Seldom remembers.
const maxSeldom = 1024

// Seldom lets through one of a kind in a while, for a log that a flood of the
// same must not fill. The zero value lets everything through. It is safe from
// any goroutine.
type Seldom struct {
	// Every is the least time between two of a kind.
	Every time.Duration

	mu   sync.Mutex
	seen map[string]*seldomKind
}

type seldomKind struct {
	last       time.Time
	suppressed int
}

// Allow reports whether one of the kind may pass now, and how many of it have
// been held back since the last that did.
func (s *Seldom) Allow(kind string) (suppressed int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	k := s.seen[kind]
	switch {
	case k == nil:
		k = s.addLocked(kind, now)
	case now.Sub(k.last) < s.Every:
		k.suppressed++
		return 0, false
	}
	suppressed = k.suppressed
	k.last, k.suppressed = now, 0
	return suppressed, true
}

// addLocked makes room first: kinds whose time is over, and if that is none, all
// of them. Some lines too many do less harm than a table without end.
func (s *Seldom) addLocked(kind string, now time.Time) *seldomKind {
	if len(s.seen) >= maxSeldom {
		for name, k := range s.seen {
			if now.Sub(k.last) >= s.Every {
				delete(s.seen, name)
			}
		}
		if len(s.seen) >= maxSeldom {
			clear(s.seen)
		}
	}
	if s.seen == nil {
		s.seen = make(map[string]*seldomKind)
	}
	k := &seldomKind{}
	s.seen[kind] = k
	return k
}
