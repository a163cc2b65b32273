package cluster

import (
	"slices"

	"culvert/proxy/network"
)

// membership is the endpoints of a cluster at one time, sorted into those that
// are picked from. It is immutable.
type membership struct {
	all    []*host
	picker picker // nil: nothing to pick from
}

// newMembership keeps the usable endpoints of the first priority that has any;
// degraded ones count only if no priority has others.
func newMembership(all []*host, p balancer, n *counters) *membership {
	m := &membership{all: all}
	healthy, degraded := 0, 0
	var levels []uint32
	for _, h := range all {
		switch {
		case h.usable() && h.degraded():
			degraded++
		case h.usable():
			healthy++
		}
		if !slices.Contains(levels, h.priority) {
			levels = append(levels, h.priority)
		}
	}
	n.membershipTotal.Set(int64(len(all)))
	n.membershipHealthy.Set(int64(healthy))
	n.membershipDegraded.Set(int64(degraded))
	slices.Sort(levels)
	for _, wantDegraded := range []bool{false, true} {
		for _, level := range levels {
			if of := atLevel(all, level, wantDegraded); len(of) > 0 {
				m.picker = p(of)
				return m
			}
		}
	}
	return m
}

func atLevel(all []*host, level uint32, degraded bool) []*host {
	var out []*host
	for _, h := range all {
		if h.priority == level && h.usable() && h.degraded() == degraded {
			out = append(out, h)
		}
	}
	return out
}

func (m *membership) pick(info *network.StreamInfo) *host {
	if m.picker == nil {
		return nil
	}
	return m.picker.pick(info)
}
