package network

import "time"

// Distant is an end that knows how far away its peer is: how long a word there
// and back takes, as it was measured; 0 while nothing was.
type Distant interface{ RoundTrip() time.Duration }

// RoundTrip is how far away the peer of c, or of the end beneath it, is; 0 where
// it cannot say.
func RoundTrip(c Conn) time.Duration {
	if d, ok := Beneath[Distant](c); ok {
		return d.RoundTrip()
	}
	return 0
}
