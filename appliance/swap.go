package appliance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"culvert/configs"
	"culvert/configs/field"
)

var errNotRunning = errors.New("a configuration can be replaced only while it is served")

// Reload reads the source again and swaps, all or nothing.
func (a *Appliance) Reload(ctx context.Context) error { return a.Swap(ctx, a.src) }

// Swap replaces the running configuration: the new one is built, bound and
// started completely before the old one is told to drain, and on any error the
// old one never noticed. When it returns, new connections meet the new one.
// Flows that live go on in the old one until they end or the drain time is
// over.
func (a *Appliance) Swap(ctx context.Context, src configs.Source) error {
	g, err := a.load(src)
	if err == nil {
		err = a.replace(ctx, g)
	}
	if err != nil {
		a.n.rejected.Inc()
		return fmt.Errorf("reload: %w", err)
	}
	return nil
}

// replace makes g the current generation, or aborts it.
func (a *Appliance) replace(ctx context.Context, g *generation) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.current
	if !a.running {
		g.discard(errNotRunning)
		return errNotRunning
	}
	if err := field.Join(old.canBecome(g), a.loopsOf(g)); err != nil {
		g.discard(err)
		return problemList(g.doc, err)
	}
	if err := g.bind(ctx, a.sockets); err != nil {
		g.discard(err)
		return err
	}
	g.startClusters()
	a.overload.Configure(g.overload)
	a.registry.Replace(g.handlers())
	a.current = g
	a.draining = append(a.draining, old)
	a.n.replaced(old, g)
	// Whoever connects meanwhile waits in the kernel's queue: had both accepted
	// at once, a hop of the new one could have ended in the old one.
	old.retire()
	g.startAccepting()
	a.retired.Go(func() { a.finishRetired(old) })
	a.log.Info("configuration replaced", "listeners", len(g.listeners))
	return nil
}

// finishRetired ends within the drain time, or when the process does.
func (a *Appliance) finishRetired(old *generation) {
	old.finish(a.retire, a.opt.DrainTime)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.draining = slices.DeleteFunc(a.draining, func(g *generation) bool { return g == old })
}

// loopsOf finds clusters of a new configuration that would enter a TUN which is
// open. It is called with mu held.
func (a *Appliance) loopsOf(g *generation) error {
	var errs []error
	for i, spec := range devices(g.tuns) {
		if i < len(a.tuns) && a.tuns[i].home {
			errs = append(errs, field.At(spec.path, spec.loops(g.doc.Bootstrap.GetStaticResources().GetClusters())))
		}
	}
	return field.Join(errs...)
}

// canBecome reports what a reload cannot change.
func (g *generation) canBecome(now *generation) error {
	var adminErr error
	if g.admin != now.admin {
		adminErr = field.WithFix(field.Errorf("admin", "the admin listens on %v: a reload cannot move it", g.admin), "restart to change it")
	}
	return field.Join(adminErr, sameTuns(g.tuns, now.tuns))
}
