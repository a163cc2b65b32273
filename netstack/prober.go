package netstack

import "net/netip"

// Liveness is what is known of a connecting application.
type Liveness uint8

// What a Prober can answer.
const (
	LivenessUnknown Liveness = iota // cannot be told: assume it is there
	LivenessAlive                   // its socket is connecting
	LivenessGone                    // there is no such socket connecting
)

// Prober looks for the socket that sent a SYN. A socket closed while it
// connects says nothing on the wire, so this is the only way to learn of it.
// Probe is called from several goroutines and returns at once.
type Prober interface {
	// Probe looks for the socket with this local and remote address as the
	// application sees them. LivenessGone of a socket that was never alive may
	// mean that it belongs to another machine or namespace.
	Probe(local, remote netip.AddrPort) Liveness
}

// ProberFunc is a function that is a Prober.
type ProberFunc func(local, remote netip.AddrPort) Liveness

// Probe calls fn.
func (fn ProberFunc) Probe(local, remote netip.AddrPort) Liveness { return fn(local, remote) }
