package overload

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"culvert/proxy/network"
	"culvert/proxy/stats"
)

const (
	// watchful is how often memory is looked at while it fills: a gigabyte a
	// second may be on its way into it.
	watchful = 10 * time.Millisecond
	// staleAfter is how long an action may rest on what an old collection said.
	staleAfter = 500 * time.Millisecond
	// shrinkEvery is how often unused memory is given back while that is asked
	// for, as Envoy does.
	shrinkEvery = 10 * time.Second
	// newlyShare is the part of the limit that must have been allocated before
	// another collection is worth its time.
	newlyShare = 16
	// Collections take no more than one part of the time in so many: where nothing
	// has changed, and where something depends on it.
	staleShare, matterShare = 20, 1
)

// Deps are the collaborators of a Manager.
type Deps struct {
	Stats *stats.Store
	// Flows are those of which the ones that hold the most are reset.
	Flows *network.FlowTable
	Log   *slog.Logger
}

// Manager watches memory and says what has to give way, to any goroutine. It
// answers at once, but for AwaitConnection and AwaitRequest, and does nothing until
// Run.
type Manager struct {
	// immutable
	deps      Deps
	memory    memory
	states    [actions]*actionState
	resumed   waiters
	admission admission
	maxHeap   atomic.Uint64
	looked    atomic.Int64 // when memory was looked at last, ns since began
	began     time.Time
	hurry     chan struct{} // somebody comes, and the last look is long ago

	pressure, pressureAtMost *stats.Gauge
	shrinks, resets          *stats.Counter

	mu  sync.Mutex
	cfg Config // guarded by mu

	// owned by Run
	cycles    uint64    // collections, when it last looked
	collected time.Time // when their number last changed
	shrunk    time.Time
	took      time.Duration // the last collection
	resetIn   uint64        // collections when flows were reset last
}

// memory is heap; a test's is its own.
type memory interface {
	look() usage
	collect()
}

// New makes a Manager, which watches nothing until Configure says so.
func New(d Deps) *Manager {
	s := d.Stats.Scope("overload.")
	m := &Manager{
		deps: d, memory: newHeap(), began: time.Now().Add(-watchful), hurry: make(chan struct{}, 1),
		pressure: s.Gauge(fixedHeap + ".pressure"), pressureAtMost: s.Gauge(fixedHeap + ".pressure_at_most"),
		shrinks: s.Counter(shrinkHeap.String() + ".shrink_count"), resets: s.Counter(resetStreams.String() + ".count"),
	}
	for a := range actions {
		m.states[a] = newActionState(s, a)
	}
	return m
}

// Configure replaces what is watched and done, from the next look on.
func (m *Manager) Configure(c Config) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cfg = c
	m.maxHeap.Store(c.maxHeap)
}

func (m *Manager) config() Config {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cfg
}

// Run watches until ctx ends. Meanwhile the runtime's memory limit is the
// configured one, so that garbage is collected before anything gives way.
func (m *Manager) Run(ctx context.Context) {
	before := debug.SetMemoryLimit(-1)
	defer func() {
		debug.SetMemoryLimit(before)
		m.act(Config{}, 0)
		m.admission.renew(0, 0, false)
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var limited uint64
	for {
		select {
		case <-timer.C:
		case <-m.hurry:
		case <-ctx.Done():
			return
		}
		if early := watchful - m.sinceLook(); early > 0 {
			timer.Reset(early)
			continue
		}
		c := m.config()
		if c.maxHeap != limited {
			limited = c.maxHeap
			limitMemory(before, limited)
			m.deps.Log.Info("memory is bounded", "max_heap_bytes", limited)
		}
		timer.Reset(m.round(c, time.Now()))
	}
}

// limitMemory sets the less of what was set before and of bytes, if there are any.
func limitMemory(before int64, bytes uint64) {
	limit := before
	if bytes > 0 && bytes < uint64(before) {
		limit = int64(bytes)
	}
	debug.SetMemoryLimit(limit)
}

// comes is called with each newcomer: memory fills with those, so it is looked at
// while they come.
func (m *Manager) comes() {
	if m.sinceLook() >= watchful {
		m.hurryUp()
	}
}

func (m *Manager) sinceLook() time.Duration {
	return time.Since(m.began) - time.Duration(m.looked.Load())
}

// hurryUp has memory looked at as soon as that is worth it.
func (m *Manager) hurryUp() {
	select {
	case m.hurry <- struct{}{}:
	default: // it is on its way
	}
}

// idleLook is how often Run looks whether there is something to do.
const idleLook = time.Second

// round looks and acts, and says when to do it again.
func (m *Manager) round(c Config, now time.Time) time.Duration {
	if c.maxHeap == 0 {
		m.act(c, 0)
		m.admission.renew(0, 0, false)
		return idleLook
	}
	u := m.measure(c, now)
	pressure := c.pressure(u.known())
	m.pressure.Set(int64(100 * pressure))
	m.pressureAtMost.Set(int64(100 * c.pressure(u.atMost())))
	m.looked.Store(int64(time.Since(m.began)))
	m.act(c, pressure)
	places, bounded := m.places(c, u.atMost())
	m.admission.renew(places, m.deps.Flows.Len(), bounded)
	m.shrink(now)
	m.resetLargest(c, u)
	if c.pressure(u.atMost()) < c.lowest()/2 {
		return c.refresh
	}
	return min(c.refresh, watchful)
}

func (c *Config) pressure(bytes uint64) float64 { return float64(bytes) / float64(c.maxHeap) }

// measure looks at memory, and finds out what is garbage where that makes a
// difference: where an action would begin if none of it were, where newcomers
// wait for room, and where an action is on that may not have to be any more.
func (m *Manager) measure(c Config, now time.Time) usage {
	u := m.memory.look()
	if u.cycles != m.cycles {
		m.cycles, m.collected = u.cycles, now
	}
	if !m.worthCollecting(c, u, now.Sub(m.collected)) {
		return u
	}
	began := time.Now()
	m.memory.collect()
	m.took = time.Since(began)
	u = m.memory.look()
	m.cycles, m.collected = u.cycles, time.Now()
	return u
}

// worthCollecting decides it, the last collection being some time ago: of a large
// heap one takes seconds.
func (m *Manager) worthCollecting(c Config, u usage, ago time.Duration) bool {
	if c.acts(u.known()) && (ago >= max(staleAfter, c.refresh, staleShare*m.took) || !m.settled(u)) {
		return true
	}
	newly := u.atMost() - u.known()
	matters := m.admission.awaited() || !c.sameActions(u.known(), u.atMost())
	return matters && newly >= c.maxHeap/newlyShare && ago >= matterShare*m.took
}

// acts reports whether something is done with so many bytes in use.
func (c *Config) acts(bytes uint64) bool { return c.pressure(bytes) >= c.lowest() }

// sameActions reports whether two sizes ask for the same.
func (c *Config) sameActions(a, b uint64) bool {
	for _, t := range c.triggers {
		if t.scale(c.pressure(a)) != t.scale(c.pressure(b)) {
			return false
		}
	}
	return true
}

// act tells those who ask how much of each action is on.
func (m *Manager) act(c Config, pressure float64) {
	for a, s := range m.states {
		was, is := s.scale(), c.triggers[a].scale(pressure)
		if was == is {
			continue
		}
		s.set(is)
		if (was >= 1) != (is >= 1) {
			m.deps.Log.Log(context.Background(), logLevel(is), "overload action",
				"action", action(a).String(), "active", is >= 1, "pressure_percent", int64(100*pressure))
		}
	}
	m.resumed.open(!m.states[stopConnections].saturated())
}

func logLevel(level float64) slog.Level {
	if level >= 1 {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// shrink gives unused memory back to the system.
func (m *Manager) shrink(now time.Time) {
	if m.states[shrinkHeap].saturated() && now.Sub(m.shrunk) >= shrinkEvery {
		m.shrunk = now
		m.shrinks.Inc()
		debug.FreeOSMemory()
	}
}
