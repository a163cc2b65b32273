package overload

import (
	"math"
	"math/rand/v2"
	"sync/atomic"

	"culvert/proxy/stats"
)

// action is one thing that can be done about overload.
type action int

// The actions, in the order in which they are looked at.
const (
	shrinkHeap action = iota
	rejectConnections
	stopRequests
	stopConnections
	resetStreams
	actions // their number
)

// prefix of the names of actions.
const actionPrefix = "envoy.overload_actions."

// String is Envoy's name.
func (a action) String() string {
	return actionPrefix + [...]string{
		"shrink_heap", "reject_incoming_connections", "stop_accepting_requests",
		"stop_accepting_connections", "reset_high_memory_stream",
	}[a]
}

func actionNamed(name string) (action, bool) {
	for a := range actions {
		if a.String() == name {
			return a, true
		}
	}
	return 0, false
}

// trigger says at which pressure an action begins and at which it is all on. A
// threshold is both. The zero trigger never does.
type trigger struct {
	on                bool
	begins, saturates float64
}

// scale is how much of its action a pressure asks for, from 0 to 1.
func (t trigger) scale(pressure float64) float64 {
	switch {
	case !t.on || pressure < t.begins:
		return 0
	case pressure >= t.saturates:
		return 1
	}
	return (pressure - t.begins) / (t.saturates - t.begins)
}

// actionState is how much of an action is on. Anyone may ask.
type actionState struct {
	level                atomic.Uint64 // bits of a float64, 0 to 1
	active, scalePercent *stats.Gauge
}

func newActionState(s *stats.Scope, a action) *actionState {
	return &actionState{active: s.Gauge(a.String() + ".active"), scalePercent: s.Gauge(a.String() + ".scale_percent")}
}

func (s *actionState) set(level float64) {
	s.level.Store(math.Float64bits(level))
	s.scalePercent.Set(int64(100 * level))
	s.active.Set(0)
	if level >= 1 {
		s.active.Set(1)
	}
}

func (s *actionState) scale() float64 { return math.Float64frombits(s.level.Load()) }

// saturated: the action is all on.
func (s *actionState) saturated() bool { return s.scale() >= 1 }

// hits is true for the share of those who ask that the scale says.
func (s *actionState) hits() bool {
	switch level := s.scale(); {
	case level <= 0:
		return false
	case level >= 1:
		return true
	default:
		return rand.Float64() < level
	}
}
