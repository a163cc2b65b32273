package stats

import (
	"slices"
	"strings"
	"sync"
)

// Tag is a Prometheus label of every metric of a scope: envoy_cluster_name.
type Tag struct{ Name, Value string }

// Store holds every metric of the process. It is safe from any goroutine.
// Create it with NewStore.
type Store struct {
	mu         sync.RWMutex
	counters   map[string]*entry[*Counter]
	gauges     map[string]*entry[*Gauge]
	histograms map[string]*entry[*Histogram]
	functions  map[string]*entry[*function]
}

// entry is a metric with what its readers print of it.
type entry[M any] struct {
	name   string // full dotted name
	family string // name without what the tags took out of it
	tags   []Tag
	metric M
}

// NewStore makes an empty store.
func NewStore() *Store {
	return &Store{
		counters:   make(map[string]*entry[*Counter]),
		gauges:     make(map[string]*entry[*Gauge]),
		histograms: make(map[string]*entry[*Histogram]),
		functions:  make(map[string]*entry[*function]),
	}
}

// Scope is a view of the store whose metrics begin with prefix, "cluster.edge.",
// and carry tags. The value of a tag, where it is a part of the prefix, is not
// a part of the Prometheus name: cluster.edge.upstream_cx_total with the tag
// envoy_cluster_name=edge reads envoy_cluster_upstream_cx_total{...}.
func (s *Store) Scope(prefix string, tags ...Tag) *Scope {
	return (&Scope{store: s}).Scope(prefix, tags...)
}

// ResetCounters sets every counter to zero.
func (s *Store) ResetCounters() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.counters {
		e.metric.value.Store(0)
	}
}

// Value is the value of the counter or gauge of that full name, and whether
// there is one.
func (s *Store) Value(name string) (int64, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e, ok := s.counters[name]; ok {
		return int64(e.metric.Value()), true
	}
	if e, ok := s.gauges[name]; ok {
		return e.metric.Value(), true
	}
	if e, ok := s.functions[name]; ok {
		return e.metric.value(), true
	}
	return 0, false
}

// Scope is a prefix and tags within a Store. It holds nothing else and may be
// made as often as needed.
type Scope struct {
	store  *Store
	prefix string
	family string
	tags   []Tag
}

// Scope is a scope within s.
func (s *Scope) Scope(prefix string, tags ...Tag) *Scope {
	prefix = Sanitize(prefix)
	if prefix != "" && !strings.HasSuffix(prefix, ".") {
		prefix += "."
	}
	family := prefix
	all := slices.Clone(s.tags)
	for _, t := range tags {
		t.Value = Sanitize(t.Value)
		family = takeOut(family, t.Value)
		all = append(all, t)
	}
	return &Scope{store: s.store, prefix: s.prefix + prefix, family: s.family + family, tags: all}
}

// Prefix is what the names of the scope's metrics begin with.
func (s *Scope) Prefix() string { return s.prefix }

// Counter is the counter of that name.
func (s *Scope) Counter(name string) *Counter {
	return find(s, s.store.counters, name, func() *Counter { return new(Counter) })
}

// Gauge is the gauge of that name.
func (s *Scope) Gauge(name string) *Gauge {
	return find(s, s.store.gauges, name, func() *Gauge { return new(Gauge) })
}

// Histogram is the histogram of that name. The unit is a part of the name
// (_ms); without one it is milliseconds.
func (s *Scope) Histogram(name string) *Histogram {
	return find(s, s.store.histograms, name, newHistogram)
}

func find[M any](s *Scope, in map[string]*entry[M], name string, make func() M) M {
	full := s.prefix + Sanitize(name)
	s.store.mu.RLock()
	e, ok := in[full]
	s.store.mu.RUnlock()
	if ok {
		return e.metric
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return findLocked(s, in, full, make).metric
}

func findLocked[M any](s *Scope, in map[string]*entry[M], full string, make func() M) *entry[M] {
	if e, ok := in[full]; ok {
		return e
	}
	family, tags := s.describe(strings.TrimPrefix(full, s.prefix))
	e := &entry[M]{name: full, family: family, tags: tags, metric: make()}
	in[full] = e
	return e
}

// Sanitize makes s a part of a metric's name as Envoy does: a colon, with the
// slashes that follow it, becomes an underscore, NUL goes.
func Sanitize(s string) string {
	if !strings.ContainsAny(s, ":\x00") {
		return s
	}
	return strings.NewReplacer("://", "_", ":/", "_", ":", "_", "\x00", "").Replace(s)
}
