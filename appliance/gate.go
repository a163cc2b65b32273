package appliance

import (
	"context"
	"sync"

	"culvert/proxy/network"
)

// gate counts the flows inside a generation, so that its end can wait for
// them. Unlike a WaitGroup it may be entered while somebody waits: a flow that
// looked its handler up just before a swap still comes in.
type gate struct {
	mu    sync.Mutex
	count int
	empty chan struct{} // non-nil while somebody waits
}

func (g *gate) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count++
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count--
	if g.count == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// hold is enter, and what it returns is leave.
func (g *gate) hold() (release func()) {
	g.enter()
	return g.leave
}

// wait returns when nobody is inside, or ctx ends.
func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	if g.count == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// guard is h counted by g, and ended when life ends as well as when its
// caller's context does.
func (g *gate) guard(life context.Context, h network.Handler) network.Handler {
	return &guarded{gate: g, life: life, h: h}
}

type guarded struct {
	gate *gate
	life context.Context
	h    network.Handler
}

// ServeFlow implements network.Handler.
func (g *guarded) ServeFlow(ctx context.Context, f network.Flow) error {
	ctx, leave := g.enter(ctx)
	defer leave()
	return g.h.ServeFlow(ctx, f)
}

func (g *guarded) enter(ctx context.Context) (context.Context, func()) {
	g.gate.enter()
	within := network.NewLife(ctx)
	stop := network.AfterEnd(g.life, func() { within.End(context.Cause(g.life)) })
	return within, func() {
		stop()
		within.End(nil)
		g.gate.leave()
	}
}
