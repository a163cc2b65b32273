package network

import "time"

// SendQueue is an end that knows how many bytes it has not seen acknowledged
// by its peer. Relay waits for it before it passes a reset on, so that what was
// sent before a reset arrives before it.
type SendQueue interface{ Unsent() int }

// Unsent is how many bytes c, or the end beneath it, has not seen acknowledged; 0
// where it cannot say.
func Unsent(c Conn) int {
	if q, ok := Beneath[SendQueue](c); ok {
		return q.Unsent()
	}
	return 0
}

// AwaitSent waits until c's peer has acknowledged what was written, so that an end
// which loses bytes on their way does not overtake them; no longer than within,
// nor once stop says so. stop may be nil.
func AwaitSent(c Conn, within time.Duration, stop func() bool) {
	pause := 100 * time.Microsecond
	for deadline := time.Now().Add(within); Unsent(c) > 0 && time.Now().Before(deadline) && (stop == nil || !stop()); {
		time.Sleep(pause) // no event tells of an empty queue on every end
		pause = min(2*pause, 10*time.Millisecond)
	}
}
