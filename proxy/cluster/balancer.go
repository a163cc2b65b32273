package cluster

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"culvert/proxy/network"
)

// balancer is a load balancing policy: it compiles the endpoints that are to be
// picked from, at least one.
type balancer func([]*host) picker

// picker picks one endpoint for each attempt, from any goroutine.
type picker interface {
	pick(info *network.StreamInfo) *host
}

// roundRobin goes through the endpoints in turn. It goes on where it was when
// they change.
func roundRobin() balancer {
	turn := new(atomic.Uint64)
	return func(hosts []*host) picker {
		if sameWeight(hosts) {
			return &rotation{hosts, turn}
		}
		return &weighted{hosts: hosts, current: make([]int64, len(hosts))}
	}
}

func sameWeight(hosts []*host) bool {
	for _, h := range hosts {
		if h.weight != hosts[0].weight {
			return false
		}
	}
	return true
}

type rotation struct {
	hosts []*host
	turn  *atomic.Uint64
}

func (r *rotation) pick(*network.StreamInfo) *host {
	n := r.turn.Add(1) - 1
	return r.hosts[n%uint64(len(r.hosts))]
}

// weighted gives each endpoint its share of every round, spread out as evenly
// as can be: each gains its weight, the richest is picked and pays for all.
type weighted struct {
	hosts []*host

	mu      sync.Mutex
	current []int64
}

func (w *weighted) pick(*network.StreamInfo) *host {
	w.mu.Lock()
	defer w.mu.Unlock()
	best, total := 0, int64(0)
	for i, h := range w.hosts {
		w.current[i] += int64(h.weight)
		total += int64(h.weight)
		if w.current[i] > w.current[best] {
			best = i
		}
	}
	w.current[best] -= total
	return w.hosts[best]
}

// random picks any endpoint; as in Envoy, weights do not count.
func random() balancer {
	return func(hosts []*host) picker { return randomPicker(hosts) }
}

type randomPicker []*host

func (r randomPicker) pick(*network.StreamInfo) *host { return r[rand.IntN(len(r))] }

// defaultChoices is how many endpoints least request compares.
const defaultChoices = 2

// leastRequest picks, among some endpoints taken at random, the one with the
// fewest active requests for its weight; among all of them if choices is 0.
func leastRequest(choices int) balancer {
	return func(hosts []*host) picker {
		l := &leastPicker{hosts: hosts, choices: choices}
		for _, h := range hosts {
			l.total += uint64(h.weight)
		}
		return l
	}
}

type leastPicker struct {
	hosts   []*host
	choices int
	total   uint64 // of the weights
}

func (l *leastPicker) pick(*network.StreamInfo) *host {
	var best *host
	if l.choices == 0 {
		from := rand.IntN(len(l.hosts)) // so that equals share
		for i := range l.hosts {
			best = lighter(best, l.hosts[(from+i)%len(l.hosts)])
		}
		return best
	}
	for range l.choices {
		best = lighter(best, l.byWeight())
	}
	return best
}

// byWeight takes an endpoint at random, each as likely as it weighs.
func (l *leastPicker) byWeight() *host {
	n := rand.Uint64N(l.total)
	for _, h := range l.hosts {
		if n < uint64(h.weight) {
			return h
		}
		n -= uint64(h.weight)
	}
	return l.hosts[0]
}

// lighter is the one with less to do for its weight, a unless b is.
func lighter(a, b *host) *host {
	if a == nil || b.n.rqActive.Load()*int64(a.weight) < a.n.rqActive.Load()*int64(b.weight) {
		return b
	}
	return a
}
