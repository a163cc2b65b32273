package overload

import (
	"cmp"
	"slices"

	"culvert/proxy/network"
)

// resetLargest resets the flows that hold the most, until what they held would
// bring the pressure to where the action begins.
func (m *Manager) resetLargest(c Config, u usage) {
	if m.states[resetStreams].scale() <= 0 || !m.settled(u) {
		return
	}
	excess := int(u.known()) - int(c.triggers[resetStreams].begins*float64(c.maxHeap))
	for _, f := range m.holders(c.worth) {
		if excess <= 0 {
			return
		}
		excess -= f.held
		m.resetIn = u.cycles
		m.resets.Inc()
		f.info.Meter.Abort(network.ErrOverload)
	}
}

// releasedIn is how many collections it takes until what a flow held is seen to be
// free: buffers pass through pools, which forget what is idle with the second.
const releasedIn = 2

// settled reports whether what the last resets were for is seen in u.
func (m *Manager) settled(u usage) bool {
	return m.resetIn == 0 || u.cycles >= m.resetIn+releasedIn
}

// holder is a flow and what it holds, bytes.
type holder struct {
	info *network.StreamInfo
	held int
}

// holders are the flows that hold as much as is worth a reset, those that hold
// the most first.
func (m *Manager) holders(worth int) []holder {
	var out []holder
	for _, info := range m.deps.Flows.Live() {
		if held := info.Meter.Held(); held >= worth {
			out = append(out, holder{info, held})
		}
	}
	slices.SortFunc(out, func(a, b holder) int { return cmp.Compare(b.held, a.held) })
	return out
}
