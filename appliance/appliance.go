package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"culvert/configs"
	internallisteners "culvert/internal-listeners"
	"culvert/proxy/accesslog"
	"culvert/proxy/network"
	"culvert/proxy/resolver"
	"culvert/proxy/stats"
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
	resolver resolver.Resolver
	sockets  *sockets
	own      ownAddresses

	state atomic.Value // string, for /ready

	mu      sync.Mutex
	current *generation
	tuns    []*runningTun

	lostDevice chan error // one value at most

	// Generations that drain, and what cuts that short.
	retired    sync.WaitGroup
	retire     context.Context // ends with the process, not with a request
	retireStop context.CancelFunc
}

// The states of /ready, as Envoy names them.
const (
	stateInitializing = "INITIALIZING"
	stateLive         = "LIVE"
	stateDraining     = "DRAINING"
)

// New loads and builds the configuration that src names. Nothing is opened yet;
// an error lists every problem.
func New(src configs.Source, opt Options) (*Appliance, error) {
	a, err := newAppliance(src, opt)
	if err != nil {
		return nil, err
	}
	if a.current, err = a.load(src); err != nil {
		return nil, errors.Join(err, a.sinks.Close())
	}
	return a, nil
}

// newAppliance makes what outlives a configuration.
func newAppliance(src configs.Source, opt Options) (*Appliance, error) {
	a := &Appliance{
		src: src, opt: opt, log: opt.Log,
		stats: stats.NewStore(), flows: network.NewFlowTable(),
		sinks:    accesslog.NewSinks(opt.Stdout, opt.Stderr),
		registry: internallisteners.NewRegistry(), resolver: resolver.New(resolver.Config{}),
		sockets: newSockets(), lostDevice: make(chan error, 1),
	}
	a.retire, a.retireStop = context.WithCancel(context.Background())
	a.state.Store(stateInitializing)
	return a, nil
}

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

// Run serves until ctx ends, then drains within the drain time; kill ends it at
// once. It returns when nothing of it is left: no flow, no goroutine, no
// device, no route.
func (a *Appliance) Run(ctx, kill context.Context) error {
	defer a.sinks.Close()
	g := a.current
	if err := g.bind(ctx, a.sockets); err != nil {
		g.abort(err)
		return err
	}
	a.registry.Replace(g.handlers())
	g.start()
	tunErr := a.openTuns(g)
	if tunErr == nil {
		tunErr = a.serveUntil(ctx, g)
	}
	a.state.Store(stateDraining)
	a.log.Info("draining", "flows", a.flows.Len(), "within", a.opt.DrainTime)
	a.drain(kill)
	a.log.Info("ended")
	return tunErr
}

// serveUntil runs the admin and says that we are live; it returns when ctx ends
// or a device is lost.
func (a *Appliance) serveUntil(ctx context.Context, g *generation) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel() // runs before Wait: the admin ends with us
	ln, err := a.listenAdmin(ctx, g)
	if err != nil {
		return err
	}
	if ln != nil {
		wg.Go(func() { a.serveAdmin(ctx, ln) }) // ends with ctx
	}
	a.state.Store(stateLive)
	a.log.Info("ready", "version", a.opt.Version, "listeners", len(g.listeners), "tuns", len(g.tuns))
	select {
	case <-ctx.Done():
		return nil
	case err := <-a.lostDevice:
		return err
	}
}

// lost notes the first device that is lost; serveUntil returns it.
func (a *Appliance) lost(err error) {
	select {
	case a.lostDevice <- err:
	default: // one is enough to end
	}
}

// lastBytes is how long captured connections that have ended may take to
// deliver what they had still to send.
const lastBytes = 5 * time.Second

// drain ends the current generation, then those that still drain, then the
// devices: the order in which nothing is cut that could have ended.
func (a *Appliance) drain(kill context.Context) {
	a.mu.Lock()
	g, tuns := a.current, a.tuns
	a.mu.Unlock()
	lingers, cancel := context.WithTimeout(kill, a.opt.DrainTime+lastBytes)
	defer cancel()
	var draining sync.WaitGroup
	for _, t := range tuns {
		draining.Go(func() { t.drain(lingers) }) // ends with the flows, or lingers
	}
	g.stop(kill, a.opt.DrainTime)
	a.retireStop() // those before it have had their time as well
	a.retired.Wait()
	draining.Wait()
	for _, t := range tuns {
		t.close()
	}
}

// Reload reads the source again and swaps, all or nothing.
func (a *Appliance) Reload(ctx context.Context) error { return a.Swap(ctx, a.src) }

// Swap replaces the running configuration: the new one is built, bound and
// started completely before the old one is told to drain, and on any error the
// old one never noticed. Flows that live go on in the old one until they end or
// the drain time is over.
func (a *Appliance) Swap(ctx context.Context, src configs.Source) error {
	g, err := a.load(src)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.current
	if err := sameTuns(old.tuns, g.tuns); err != nil {
		g.abort(err)
		return fmt.Errorf("reload: %w", err)
	}
	if err := g.bind(ctx, a.sockets); err != nil {
		g.abort(err)
		return fmt.Errorf("reload: %w", err)
	}
	g.start()
	a.registry.Replace(g.handlers())
	a.current = g
	a.log.Info("configuration replaced", "listeners", len(g.listeners))
	a.retired.Go(func() { old.stop(a.retire, a.opt.DrainTime) }) // ends within the drain time
	return nil
}
