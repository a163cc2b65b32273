package network

import "fmt"

// MaxHops bounds a loop. A flow may be passed on so often from one culvert to
// the next, and may enter the same internal listener so often. Chains of
// different listeners may have any length: a loop is where one comes again.
const MaxHops = 16

// Hops is how often what s is about was passed on between culverts over HTTP,
// as the requests that brought it said.
func (s *StreamInfo) Hops() int { return int(s.hops) }

// RaiseHops notes that a request says it was passed on n times. What its
// connection has behind it already counts as well.
func (s *StreamInfo) RaiseHops(n int) { s.hops = max(s.hops, int32(min(n, MaxHops))) } // more is no worse

// NextHop is the count of a request that passes s on. The error is a loop.
func (s *StreamInfo) NextHop() (int, error) {
	if s.hops >= MaxHops {
		return 0, WithReason(ReasonLoop, fmt.Errorf("loop: passed on %d times already", s.hops))
	}
	return s.Hops() + 1, nil
}

// Enter notes that the internal listener of that name serves s, a connection of
// its own. The error is a loop: s came out of so many flows that this listener
// has served.
func (s *StreamInfo) Enter(listener string) error {
	visits := 0
	for outer := s.Parent; outer != nil; outer = outer.Parent {
		if outer.entered == listener {
			visits++
		}
	}
	if visits >= MaxHops {
		return WithReason(ReasonLoop, fmt.Errorf("loop: internal listener %q comes again after %d times", listener, visits))
	}
	s.entered = listener
	return nil
}
