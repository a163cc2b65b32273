package appliance

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"culvert/appliance/overload"
	"culvert/configs"
	internallisteners "culvert/internal-listeners"
	"culvert/proxy/accesslog"
	"culvert/proxy/network"
	"culvert/proxy/resolver"
	"culvert/proxy/stats"
	"culvert/proxy/tcpproxy"
)

// Appliance is a configuration running in this process, and what outlives a
// configuration: counters, the flow table, log files, listening sockets, TUNs.
type Appliance struct {
	// immutable
	src      configs.Source
	opt      Options
	log      *slog.Logger
	stats    *stats.Store
	flows    *network.FlowTable
	sinks    *accesslog.Sinks
	registry *internallisteners.Registry
	n        *serverStats
	resolver resolver.Resolver
	sockets  *sockets
	own      ownAddresses
	overload *overload.Manager

	complaints *network.Seldom // about clusters that fail

	// Set by New; devices are not changed by a reload.
	mark         uint32         // SO_MARK of our own sockets, 0 for none
	tunAddresses []netip.Prefix // addresses of our own devices

	state atomic.Pointer[string] // for /ready
	live  chan struct{}          // closed once we serve
	lost  chan error             // why we cannot go on: one value at most

	// guarded by mu
	mu       sync.Mutex
	running  bool // a swap is possible
	current  *generation
	draining []*generation // those before it
	tuns     []*runningTun

	unhealthy atomic.Bool     // an operator says so
	quit      context.Context // ends when an operator wants the process to
	quitNow   context.CancelFunc

	// Generations that drain, and what cuts that short.
	retired    sync.WaitGroup
	retire     context.Context // ends with the process, not with a request
	retireStop context.CancelFunc
}

// New loads and builds the configuration that src names. Nothing is opened yet;
// an error lists every problem.
func New(src configs.Source, opt Options) (*Appliance, error) {
	a := newAppliance(src, opt, accesslog.NewSinks(opt.Stdout, opt.Stderr))
	g, err := a.load(src)
	if err != nil {
		a.retireStop()
		return nil, errors.Join(err, a.sinks.Close())
	}
	a.current = g
	for _, t := range g.tuns {
		a.mark = max(a.mark, t.mark) // wholeness has seen that there is one at most
		a.tunAddresses = append(a.tunAddresses, t.plan.Addresses...)
	}
	return a, nil
}

// newAppliance makes what outlives a configuration.
func newAppliance(src configs.Source, opt Options, sinks *accesslog.Sinks) *Appliance {
	a := &Appliance{
		src: src, opt: opt, log: opt.Log,
		stats: stats.NewStore(), flows: network.NewFlowTable(), sinks: sinks,
		registry:   internallisteners.NewRegistry(),
		sockets:    newSockets(),
		complaints: &network.Seldom{Every: tcpproxy.ComplainEvery},
		live:       make(chan struct{}), lost: make(chan error, 1),
	}
	a.overload = overload.New(overload.Deps{Stats: a.stats, Flows: a.flows, Log: a.log})
	a.n = newServerStats(a.stats, connectionLimit())
	a.resolver = resolver.New(resolver.Config{Control: a.markSocket})
	a.quit, a.quitNow = context.WithCancel(context.Background())
	a.retire, a.retireStop = context.WithCancel(context.Background())
	a.setState(stateInitializing)
	return a
}

func (a *Appliance) setState(s string) { a.state.Store(&s) }

// load builds a generation, logging what is worth a warning.
func (a *Appliance) load(src configs.Source) (*generation, error) {
	doc, err := configs.Load(src)
	if err != nil {
		return nil, problemList(doc, err)
	}
	g, err := a.build(doc)
	if err != nil {
		return nil, problemList(doc, err)
	}
	for _, w := range append(doc.Warnings, doc.Lint()...) {
		a.log.Warn(w.String())
	}
	return g, nil
}
