package appliance

import (
	"context"
	"net"
	"sync"
	"time"
)

// The states of /ready, as Envoy names them.
const (
	stateInitializing = "INITIALIZING"
	stateLive         = "LIVE"
	stateDraining     = "DRAINING"
)

// statsInterval is how often histograms begin anew, as Envoy's flush does.
const statsInterval = 5 * time.Second

// lastBytes is how long captured connections that have ended may take to
// deliver what they had still to send.
const lastBytes = 5 * time.Second

// Live is closed once the appliance serves: every socket is bound and every
// device open.
func (a *Appliance) Live() <-chan struct{} { return a.live }

// ReopenLogs opens the files of the access logs anew, for whoever has moved them
// away. A file that cannot be opened goes on as it was, and is in the error.
func (a *Appliance) ReopenLogs() error { return a.sinks.Reopen() }

// Run serves until ctx ends, then drains within the drain time; kill ends it at
// once. It returns when nothing of it is left: no flow, no goroutine, no
// device, no route, no socket. The error is why it could not start, or why it
// could not go on; then nothing is drained. It is called once.
func (a *Appliance) Run(ctx, kill context.Context) error {
	defer a.sinks.Close()
	defer a.retireStop()
	g := a.current
	admin, err := a.bind(ctx, g)
	if err != nil {
		g.abort(err)
		return err
	}
	defer a.startViews(admin)()
	began := time.Now()
	a.n.started(g)
	a.overload.Configure(g.overload)
	defer a.watchOverload()()
	g.startClusters()
	a.registry.Replace(g.handlers())
	g.startAccepting()
	if err := a.openTuns(g); err != nil {
		return a.fail(err)
	}
	a.n.initialization.RecordDuration(time.Since(began))
	a.setRunning(true)
	a.setState(stateLive)
	close(a.live)
	a.log.Info("ready", "version", a.opt.Version, "listeners", len(g.listeners), "tuns", len(g.tuns))
	select {
	case <-ctx.Done():
	case <-a.quit.Done():
		defer context.AfterFunc(ctx, a.alreadyDraining)()
	case <-kill.Done():
	case err := <-a.lost:
		return a.fail(err)
	}
	a.drain(kill)
	a.log.Info("ended")
	return nil
}

// alreadyDraining answers the first signal to a process that an operator has
// asked to quit: supervisors send one behind such a request, and mean no more by
// it.
func (a *Appliance) alreadyDraining() {
	a.log.Info("already draining: the next signal ends at once")
}

// bind opens every socket, or none. The admin's is nil if there is none.
func (a *Appliance) bind(ctx context.Context, g *generation) (admin net.Listener, err error) {
	if err := g.bind(ctx, a.sockets); err != nil {
		return nil, err
	}
	if admin, err = a.listenAdmin(ctx, g); err != nil {
		g.closeSockets()
	}
	return admin, err
}

// startViews runs what only looks: the admin, and the interval of the
// histograms. The caller calls stop last, so that a drain can be watched.
func (a *Appliance) startViews(admin net.Listener) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	unexport := a.exportServer()
	var wg sync.WaitGroup
	wg.Go(func() { a.flushStats(ctx) }) // ends with ctx
	if admin != nil {
		wg.Go(func() { a.serveAdmin(ctx, admin) }) // ends with ctx
	}
	return func() {
		cancel()
		wg.Wait()
		unexport()
	}
}

// watchOverload watches memory until stop.
func (a *Appliance) watchOverload() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { a.overload.Run(ctx) }) // ends with ctx
	return func() {
		cancel()
		wg.Wait()
	}
}

func (a *Appliance) flushStats(ctx context.Context) {
	tick := time.NewTicker(statsInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			a.stats.Flush()
		case <-ctx.Done():
			return
		}
	}
}

// fail ends what has started at once and returns err: who starts us again shall
// not wait for flows that nothing captures any more.
func (a *Appliance) fail(err error) error {
	now, cancel := context.WithCancelCause(context.Background())
	cancel(err)
	a.drain(now)
	return err
}

// cannotGoOn ends Run with err: to run on without what is lost would look like
// serving. It is said at once, since whoever started us learns it only after all
// has ended.
func (a *Appliance) cannotGoOn(err error) {
	a.log.Error("cannot go on", "err", err)
	select {
	case a.lost <- err:
	default: // one is enough to end
	}
}

// setRunning says whether a swap is possible. When it returns, none is under
// way.
func (a *Appliance) setRunning(yes bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running = yes
}

// drain ends the current generation and those that still drain, then the
// devices: the order in which nothing is cut that could have ended. A generation
// that was replaced began its drain earlier and ends it no later than the last.
func (a *Appliance) drain(kill context.Context) {
	a.setState(stateDraining)
	a.setRunning(false)
	a.log.Info("draining", "flows", a.flows.Flows(), "within", a.opt.DrainTime)
	g, tuns := a.current, a.tuns // nobody changes them any more
	lingers, cancel := context.WithTimeout(kill, a.opt.DrainTime+lastBytes)
	defer cancel()
	var draining sync.WaitGroup
	for _, t := range tuns {
		draining.Go(func() { t.drain(lingers) }) // ends with the flows, or lingers
	}
	defer context.AfterFunc(kill, a.retireStop)()
	g.retire()
	g.finish(kill, a.opt.DrainTime)
	a.retired.Wait()
	draining.Wait()
	for _, t := range tuns {
		t.close()
	}
}
