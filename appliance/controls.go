package appliance

import (
	"time"

	"culvert/appliance/admin"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// controls are what an operator may do to a running appliance.
type controls struct{ a *Appliance }

// SetHealthCheck tells whoever balances load to us to stay away, or to come
// back. Connections that are here meanwhile end with the exchange they are at.
func (c controls) SetHealthCheck(ok bool) {
	if c.a.unhealthy.Swap(!ok) == ok {
		c.a.log.Info("health check set", "ok", ok)
	}
}

// Quit ends Run as the end of its context does.
func (c controls) Quit() {
	c.a.log.Info("asked to quit")
	c.a.quitNow()
}

func (c controls) ReopenLogs() error { return c.a.ReopenLogs() }

func (c controls) ResetCounters() { c.a.stats.ResetCounters() }

// DrainListeners stops accepting on the running configuration's sockets, at
// once, or after the drain time with connections told to go first. A
// configuration that replaces it listens again. Internal listeners have no
// socket: what leads into them, a TUN or a tunnel, goes on. A captured host whose
// connects were refused instead would have no other way out: its routes lead
// here until Run ends.
func (c controls) DrainListeners(how admin.Drain) {
	a := c.a
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.current
	switch {
	case !a.running: // it ends anyway
	case !how.Graceful:
		a.stopListenersLocked(g, how)
	case g.startWinding(how.InboundOnly):
		a.log.Info("draining listeners", "within", a.opt.DrainTime, "stop", !how.SkipExit)
		a.retired.Go(func() { a.windDown(g, how) }) // ends with the drain time, or with g
	}
}

// windDown waits for the drain time.
func (a *Appliance) windDown(g *generation, how admin.Drain) {
	timer := time.NewTimer(a.opt.DrainTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.draining.Done():
		return // it stops everything by itself
	}
	defer a.log.Info("drained listeners", "stopped", !how.SkipExit)
	if how.SkipExit {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopListenersLocked(g, how)
}

func (a *Appliance) stopListenersLocked(g *generation, how admin.Drain) {
	for i, m := range g.doc.Bootstrap.GetStaticResources().GetListeners() {
		if g.uses[i] == nil || g.stopped[i] || how.InboundOnly && !isInbound(m) {
			continue
		}
		g.stopped[i] = true
		_ = g.uses[i].Close() // closing is how Serve is told to stop
		a.n.stopped.Inc()
		a.log.Info("listener stopped", "listener", m.GetName())
	}
}

// startWinding reports whether it was not under way before.
func (g *generation) startWinding(inboundOnly bool) bool {
	if inboundOnly {
		return !g.winding.Load() && !g.windingInbound.Swap(true)
	}
	return !g.winding.Swap(true)
}

// ending tells connections of the listener that is being built whether they are
// to end with the exchange they are at.
func (b *builder) ending(inbound bool) func() bool {
	a, g := b.a, b.g
	return func() bool {
		return a.unhealthy.Load() || g.winding.Load() || inbound && g.windingInbound.Load()
	}
}

func isInbound(m *listenerv3.Listener) bool {
	return m.GetTrafficDirection() == corev3.TrafficDirection_INBOUND
}
