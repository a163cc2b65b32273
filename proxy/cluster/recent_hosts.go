package cluster

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"culvert/proxy/network"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

// defaultCleanup is Envoy's cleanup_interval.
const defaultCleanup = 5 * time.Second

// maxRecent bounds what clients can make us remember, endpoints.
const maxRecent = 4096

// recentHosts are the endpoints that flows brought with them, kept a while
// after their last use: their counts are for whoever looks.
type recentHosts struct {
	cleanup time.Duration
	n       *counters

	mu    sync.Mutex
	known map[poolKey]*host
	swept time.Time
}

func newRecentHosts(m *clusterv3.Cluster, n *counters) *recentHosts {
	r := &recentHosts{cleanup: defaultCleanup, n: n, known: make(map[poolKey]*host)}
	if d := m.GetCleanupInterval(); d != nil {
		r.cleanup = d.AsDuration()
	}
	return r
}

// host gives h the counts of its like, if there was one.
func (r *recentHosts) host(h *host) *host {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.known[h.key()]
	if old != nil {
		h.n = old.n
	} else {
		h.n = new(hostCounts)
	}
	h.weight = 1
	h.n.use()
	if time.Since(r.swept) >= r.cleanup {
		r.sweepLocked()
	}
	if len(r.known) < maxRecent || old != nil {
		r.known[h.key()] = h
	}
	return h
}

func (r *recentHosts) sweepLocked() {
	now := time.Now()
	r.swept = now
	for key, h := range r.known {
		idle := h.n.cxActive.Load() == 0 && h.n.rqActive.Load() == 0
		if idle && now.Sub(time.Unix(0, h.n.lastUsed.Load())) >= r.cleanup {
			delete(r.known, key)
		}
	}
	r.n.membershipTotal.Set(int64(len(r.known)))
	r.n.membershipHealthy.Set(int64(len(r.known)))
}

// find is the endpoint of that address and name; nil if it is forgotten.
func (r *recentHosts) find(a network.Address, name string) *host {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reach := range [...]addressClass{0, classLoopback} {
		if h := r.known[poolKey{a, name, reach}]; h != nil {
			return h
		}
	}
	for key, h := range r.known {
		if key.address == a && key.name == name {
			return h
		}
	}
	return nil
}

// list is the endpoints in use or used a moment ago, by address.
func (r *recentHosts) list() []*host {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweepLocked()
	out := make([]*host, 0, len(r.known))
	for _, h := range r.known {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *host) int { return cmp.Compare(a.address.String(), b.address.String()) })
	return out
}
