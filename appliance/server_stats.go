package appliance

import (
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"culvert/proxy/stats"

	"google.golang.org/protobuf/proto"
)

// serverStats are what the process counts about itself and its
// configurations, by Envoy's names.
type serverStats struct {
	store                   *stats.Store
	connections             atomic.Int64 // open ones that kernel sockets accepted
	limit                   atomic.Int64 // of connections
	initialization          *stats.Histogram
	replacements, rejected  *stats.Counter
	stopped                 *stats.Counter // listeners, by an operator
	listenerMgr, clusterMgr changes
}

// changes count what a new configuration has that the old one had not.
type changes struct{ added, modified, removed *stats.Counter }

func newServerStats(store *stats.Store, limit int64) *serverStats {
	server := store.Scope("server.")
	n := &serverStats{
		store:          store,
		initialization: server.Histogram("initialization_time_ms"),
		replacements:   server.Counter("config_replaced"),
		rejected:       server.Counter("config_rejected"),
	}
	n.limit.Store(limit)
	n.stopped = store.Scope("listener_manager.").Counter("listener_stopped")
	n.listenerMgr = newChanges(store.Scope("listener_manager."), "listener_")
	n.clusterMgr = newChanges(store.Scope("cluster_manager."), "cluster_")
	return n
}

func newChanges(s *stats.Scope, prefix string) changes {
	return changes{s.Counter(prefix + "added"), s.Counter(prefix + "modified"), s.Counter(prefix + "removed")}
}

// admit takes a place for a connection of a kernel socket, if there is one.
func (n *serverStats) admit() (release func(), ok bool) {
	if n.connections.Add(1) > n.limit.Load() {
		n.connections.Add(-1)
		return nil, false
	}
	return func() { n.connections.Add(-1) }, true
}

// started counts the first configuration, replaced each one after it.
func (n *serverStats) started(g *generation) { n.compare(nil, g) }

func (n *serverStats) replaced(old, now *generation) {
	n.replacements.Inc()
	n.compare(old, now)
}

func (n *serverStats) compare(old, now *generation) {
	n.listenerMgr.count(old.listenerMessages(), now.listenerMessages())
	n.clusterMgr.count(old.clusterMessages(), now.clusterMessages())
}

func (c changes) count(old, now map[string]proto.Message) {
	for name, m := range now {
		switch before, ok := old[name]; {
		case !ok:
			c.added.Inc()
		case !proto.Equal(before, m):
			c.modified.Inc()
		}
	}
	for name := range old {
		if _, ok := now[name]; !ok {
			c.removed.Inc()
		}
	}
}

// listenerMessages are the listeners by name, or by address where they have
// none. A nil generation has none.
func (g *generation) listenerMessages() map[string]proto.Message {
	out := make(map[string]proto.Message)
	if g == nil {
		return out
	}
	for i, m := range g.doc.Bootstrap.GetStaticResources().GetListeners() {
		name := m.GetName()
		if name == "" {
			name = g.listeners[i].Address().String()
		}
		out[name] = m
	}
	return out
}

func (g *generation) clusterMessages() map[string]proto.Message {
	out := make(map[string]proto.Message)
	if g == nil {
		return out
	}
	for _, m := range g.doc.Bootstrap.GetStaticResources().GetClusters() {
		out[m.GetName()] = m
	}
	return out
}

// exportServer shows the gauges that are asked when read. It returns what
// takes them back.
func (a *Appliance) exportServer() (remove func()) {
	began := time.Now()
	var removes []func()
	export := func(prefix string, gauges map[string]func() int64) {
		scope := a.stats.Scope(prefix)
		for name, ask := range gauges {
			removes = append(removes, scope.GaugeFunc(name, ask))
		}
	}
	revision := revisionNumber(a.opt.Version)
	export("server.", map[string]func() int64{
		"uptime":                         func() int64 { return int64(time.Since(began) / time.Second) },
		"concurrency":                    func() int64 { return int64(runtime.GOMAXPROCS(0)) },
		"live":                           func() int64 { return boolGauge(a.shownState() == stateLive) },
		"state":                          a.stateNumber,
		"total_connections":              a.n.connections.Load,
		"version":                        func() int64 { return revision },
		"days_until_first_cert_expiring": func() int64 { return a.generation().secrets.DaysUntilFirstExpiry() },
		"memory_allocated":               func() int64 { return memory("/memory/classes/heap/objects:bytes") },
		"memory_heap_size":               func() int64 { return memory("/memory/classes/total:bytes") },
		"goroutines":                     func() int64 { return int64(runtime.NumGoroutine()) },
	})
	export("listener_manager.", map[string]func() int64{
		"total_listeners_active":   func() int64 { active, _ := a.listenerCounts(); return active },
		"total_listeners_draining": func() int64 { _, draining := a.listenerCounts(); return draining },
		"workers_started":          func() int64 { return boolGauge(!a.stateIs(stateInitializing)) },
	})
	export("cluster_manager.", map[string]func() int64{"active_clusters": a.clusterCount})
	export("filesystem.", map[string]func() int64{ // access logs; Envoy's names where it has one
		"write_buffered":  func() int64 { return int64(a.sinks.Counts().Records) },
		"write_dropped":   func() int64 { return int64(a.sinks.Counts().Dropped) },
		"write_completed": func() int64 { return int64(a.sinks.Counts().Written) },
		"write_failed":    func() int64 { return int64(a.sinks.Counts().Failed) },
		"reopen_failed":   func() int64 { return int64(a.sinks.Counts().ReopenFailed) },
	})
	return func() {
		for _, r := range removes {
			r()
		}
	}
}

// shownState is DRAINING also while an operator fails the health check.
func (a *Appliance) shownState() string {
	if a.unhealthy.Load() && a.stateIs(stateLive) {
		return stateDraining
	}
	return *a.state.Load()
}

func (a *Appliance) stateIs(s string) bool { return *a.state.Load() == s }

// stateNumber is Envoy's: 0 live, 1 draining, 3 initializing.
func (a *Appliance) stateNumber() int64 {
	switch a.shownState() {
	case stateLive:
		return 0
	case stateDraining:
		return 1
	}
	return 3
}

func (a *Appliance) listenerCounts() (active, draining int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, g := range a.draining {
		draining += int64(len(g.listeners))
	}
	return int64(len(a.current.listeners)), draining
}

func (a *Appliance) clusterCount() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(len(a.current.doc.Bootstrap.GetStaticResources().GetClusters()))
}

func boolGauge(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func memory(name string) int64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(sample[0].Value.Uint64())
}

// revisionDigits is how much of a revision Envoy shows as server.version.
const revisionDigits = 6

// revisionNumber reads the revision at the end of a version (306942e,
// v1.2.0-3-g306942e-dirty) as a number, 0 if there is none.
func revisionNumber(version string) int64 {
	rev := strings.TrimSuffix(version, "-dirty")
	if i := strings.LastIndex(rev, "-g"); i >= 0 {
		rev = rev[i+len("-g"):]
	}
	if len(rev) < revisionDigits {
		return 0
	}
	n, err := strconv.ParseInt(rev[:revisionDigits], 16, 64)
	if err != nil {
		return 0
	}
	return n
}
