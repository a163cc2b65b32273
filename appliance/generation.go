package appliance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"culvert/appliance/admin"
	"culvert/appliance/overload"
	"culvert/configs"
	"culvert/proxy/accesslog"
	"culvert/proxy/cluster"
	"culvert/proxy/listener"
	"culvert/proxy/network"
	"culvert/proxy/transport"
)

// generation is one configuration, running: its clusters, its listeners, its
// share of the sockets. Flows live and end in the generation they began in.
type generation struct {
	// immutable
	doc       *configs.Document
	clusters  *cluster.Set
	listeners []*listener.Listener
	tuns      []*tunSpec
	secrets   *transport.Secrets // certificate files, read again when they change
	admin     network.Address    // zero: no admin
	allowed   *admin.Paths       // of the admin
	built     time.Time

	overload overload.Config
	pause    func(net.Listener) net.Listener // while memory is short

	logs *accesslog.Sinks // its share of the access logs

	lost func(error) // told that a listener has ended by itself

	draining   context.Context // ends when no new exchange is wanted
	beginDrain context.CancelFunc

	flows gate

	life  context.Context // ends to abort what is still open
	abort context.CancelCauseFunc
	wg    sync.WaitGroup // accept loops and clusters

	// Connections are to end with the exchange they are at; those of inbound
	// listeners.
	winding, windingInbound atomic.Bool

	stopped []bool // listeners[i] by an operator; guarded by Appliance.mu

	uses []net.Listener // our descriptors of listeners[i]'s socket, nil for none
}

var errGenerationEnded = errors.New("the configuration this flow came under has ended")

// bind opens every kernel socket, or none.
func (g *generation) bind(ctx context.Context, s *sockets) error {
	g.uses = make([]net.Listener, len(g.listeners))
	g.stopped = make([]bool, len(g.listeners))
	for i, l := range g.listeners {
		if !l.Bind() {
			continue
		}
		ln, err := s.listen(ctx, l.Address())
		if err != nil {
			g.closeSockets()
			return fmt.Errorf("listener %q: %w", l.Name(), err)
		}
		g.uses[i] = g.pause(ln)
	}
	return nil
}

// closeSockets stops accepting: when it returns, nothing more is accepted.
func (g *generation) closeSockets() {
	for _, ln := range g.uses {
		if ln != nil {
			_ = ln.Close() // closing is how Serve is told to stop
		}
	}
}

// handlers are the internal listeners by name, as the registry wants them.
func (g *generation) handlers() map[string]network.Handler {
	out := make(map[string]network.Handler)
	for _, l := range g.listeners {
		if l.Internal() {
			out[l.Name()] = g.flows.guard(g.life, l)
		}
	}
	return out
}

// startClusters runs what flows need. It ends with finish.
func (g *generation) startClusters() {
	g.wg.Go(g.runClusters)
	g.wg.Go(g.watchSecrets)
}

// startAccepting runs the accept loops. They end with retire.
func (g *generation) startAccepting() {
	for i, l := range g.listeners {
		if ln := g.uses[i]; ln != nil {
			g.wg.Go(func() { g.accept(l, ln) })
		}
	}
}

// runClusters ends when life does, with every pooled connection closed.
func (g *generation) runClusters() { _ = g.clusters.Run(g.life) }

// watchSecrets ends when life does.
func (g *generation) watchSecrets() { _ = g.secrets.Run(g.life) }

// accept ends when its socket is closed and its flows are over.
func (g *generation) accept(l *listener.Listener, ln net.Listener) {
	g.flows.enter()
	defer g.flows.leave()
	if err := l.Serve(g.life, ln); err != nil {
		g.lost(fmt.Errorf("accepting has ended: %w", err))
	}
}

// retire tells the generation to drain, and returns at once: no new connections
// on its sockets, GOAWAY to multiplexed ones, none kept for later to its
// upstreams.
func (g *generation) retire() {
	g.beginDrain()
	g.clusters.Quiesce()
	g.closeSockets()
}

// discard gives up a generation that never ran.
func (g *generation) discard(cause error) {
	g.abort(cause)
	_ = g.logs.Release() // nothing was written
}

// finish waits up to drain for what is open, aborts the rest and returns when
// nothing is left. ctx ending aborts at once.
func (g *generation) finish(ctx context.Context, drain time.Duration) {
	bounded, cancel := context.WithTimeoutCause(ctx, drain, errGenerationEnded)
	defer cancel()
	cause := errGenerationEnded
	if err := g.flows.wait(bounded); err != nil {
		cause = err
	}
	g.abort(cause)
	g.wg.Wait()
	_ = g.flows.wait(context.Background()) // aborted flows end by themselves
	_ = g.logs.Release()                   // what could not be written is counted
}
