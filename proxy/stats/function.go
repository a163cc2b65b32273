package stats

import "slices"

// function is a gauge whose value is asked of its owners.
type function struct{ asks []*func() int64 }

func (f *function) value() int64 {
	var sum int64
	for _, ask := range f.asks {
		sum += (*ask)()
	}
	return sum
}

// GaugeFunc makes the gauge of that name ask fn for its value whenever it is
// read, from the reader's goroutine. Several functions of one name add up: two
// generations of the configuration may serve at once. The caller calls remove
// when fn's owner is gone.
func (s *Scope) GaugeFunc(name string, fn func() int64) (remove func()) {
	full := s.prefix + Sanitize(name)
	st := s.store
	st.mu.Lock()
	defer st.mu.Unlock()
	e := findLocked(s, st.functions, full, func() *function { return new(function) })
	ask := &fn
	// Readers hold copies of the slice while they ask, so it is never changed
	// in place.
	e.metric = &function{asks: append(slices.Clone(e.metric.asks), ask)}
	return func() { s.removeFunc(full, ask) }
}

func (s *Scope) removeFunc(full string, ask *func() int64) {
	st := s.store
	st.mu.Lock()
	defer st.mu.Unlock()
	e, ok := st.functions[full]
	if !ok {
		return
	}
	left := make([]*func() int64, 0, len(e.metric.asks))
	for _, a := range e.metric.asks {
		if a != ask {
			left = append(left, a)
		}
	}
	if len(left) == 0 {
		delete(st.functions, full)
		return
	}
	e.metric = &function{asks: left}
}
