package cluster

import (
	"context"
	"sync"

	"culvert/configs/field"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"
)

// Set is the clusters of one configuration, by name. It never changes.
type Set struct {
	order  []*Cluster
	byName map[string]*Cluster
}

// NewSet compiles the clusters of a configuration. Errors are paths within the
// list: [1].connect_timeout.
func NewSet(list []*clusterv3.Cluster, d Deps) (*Set, error) {
	s := &Set{byName: make(map[string]*Cluster)}
	var errs []error
	for i, m := range list {
		path := field.Index("", i)
		if _, ok := s.byName[m.GetName()]; ok {
			errs = append(errs, field.Errorf(path+".name", "cluster manager: duplicate cluster '%s'", m.GetName()))
			continue
		}
		c, err := New(m, d)
		if err != nil {
			errs = append(errs, field.At(path, err))
			s.byName[m.GetName()] = nil // its name is taken all the same
			continue
		}
		s.byName[m.GetName()] = c
		s.order = append(s.order, c)
		errs = append(errs, field.At(path, s.checkCache(c)))
	}
	if err := field.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// checkCache refuses a DNS cache whose name an earlier cluster gives another:
// one name is one cache to whoever reads the statistics.
func (s *Set) checkCache(c *Cluster) error {
	d, ok := c.hosts.(*dynamicForward)
	if !ok {
		return nil
	}
	for _, other := range s.order {
		o, ok := other.hosts.(*dynamicForward)
		if ok && o.cache.GetName() == d.cache.GetName() && !proto.Equal(o.cache, d.cache) {
			return field.Errorf("cluster_type.typed_config.dns_cache_config.name",
				"config specified DNS cache '%s' with different settings", d.cache.GetName())
		}
	}
	return nil
}

// Get finds a cluster by name. A nil Set, which NewSet returns with an error,
// has none: the rest of a faulty configuration can still be checked.
func (s *Set) Get(name string) (*Cluster, bool) {
	if s == nil {
		return nil, false
	}
	c, ok := s.byName[name]
	return c, ok
}

// Each calls fn for each cluster in the order of the configuration.
func (s *Set) Each(fn func(*Cluster)) {
	for _, c := range s.order {
		fn(c)
	}
}

// Run runs all clusters until ctx ends.
func (s *Set) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, c := range s.order {
		wg.Go(func() { _ = c.Run(ctx) }) // ends with ctx; its error is always nil
	}
	wg.Wait()
	return nil
}

// Quiesce tells all clusters to keep no connection for later.
func (s *Set) Quiesce() {
	for _, c := range s.order {
		c.Quiesce()
	}
}

// Drain drains all clusters at once and returns when they are drained or ctx
// ends.
func (s *Set) Drain(ctx context.Context) {
	var wg sync.WaitGroup
	for _, c := range s.order {
		wg.Go(func() { c.Drain(ctx) }) // ends with ctx at the latest
	}
	wg.Wait()
}
