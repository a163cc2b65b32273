package stats

import (
	"cmp"
	"slices"
)

// reading is one metric's value at the time of a page.
type reading struct {
	name, family string
	tags         []Tag
	kind         Kind
	value        int64
	histogram    *Histogram
}

// read lists what f picks: counters and gauges by name, then histograms by
// name. Functions are asked after the lock is released, so that they may use
// the store.
func (s *Store) read(f Filter) (numbers, histograms []reading) {
	numbers, histograms, functions := s.collect(f)
	for _, fn := range functions {
		numbers = append(numbers, reading{
			name: fn.name, family: fn.family, tags: fn.tags,
			kind: Gauges, value: fn.metric.value(),
		})
	}
	byName := func(a, b reading) int { return cmp.Compare(a.name, b.name) }
	slices.SortStableFunc(numbers, byName)
	slices.SortStableFunc(histograms, byName)
	return numbers, histograms
}

func (s *Store) collect(f Filter) (numbers, histograms []reading, functions []entry[*function]) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.counters {
		v := e.metric.Value()
		if f.wants(Counters, e.name, v > 0) {
			numbers = append(numbers, reading{name: e.name, family: e.family, tags: e.tags, kind: Counters, value: int64(v)})
		}
	}
	for _, e := range s.gauges {
		if f.wants(Gauges, e.name, e.metric.used.Load()) {
			numbers = append(numbers, reading{name: e.name, family: e.family, tags: e.tags, kind: Gauges, value: e.metric.Value()})
		}
	}
	for _, e := range s.functions {
		if f.wants(Gauges, e.name, true) {
			functions = append(functions, *e)
		}
	}
	for _, e := range s.histograms {
		if f.wants(Histograms, e.name, e.metric.Count() > 0) {
			histograms = append(histograms, reading{name: e.name, family: e.family, tags: e.tags, kind: Histograms, histogram: e.metric})
		}
	}
	return numbers, histograms, functions
}
