package appliance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"culvert/appliance/host"
	"culvert/netstack"
	"culvert/netstack/tundev"
	"culvert/proxy/stats"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

// runningTun is an open device with its stack, and what leads to it.
type runningTun struct {
	name    string
	ns      *host.Namespace
	home    bool // ns is the namespace of our own sockets
	device  *tundev.Device
	applied *host.Applied
	prober  *netstack.SockDiag
	stack   *netstack.Stack
	log     *slog.Logger

	unexport func()

	stop context.CancelFunc // ends the stack's Run
	wg   sync.WaitGroup

	stopWatch context.CancelFunc // ends the watch over what leads to the device
	watching  sync.WaitGroup
}

// deviceLostError ends an appliance whose device is gone: without it nothing
// is captured, and running on would look as if it were.
type deviceLostError struct {
	name string
	err  error
}

func (e *deviceLostError) Error() string { return "device " + e.name + " is lost: " + e.err.Error() }
func (e *deviceLostError) Unwrap() error { return e.err }

// openTuns opens every device, or none.
func (a *Appliance) openTuns(g *generation) error {
	for _, spec := range devices(g.tuns) {
		t, err := a.openTun(spec, g.doc.Bootstrap.GetStaticResources().GetClusters())
		if err != nil {
			for _, opened := range a.tuns {
				opened.close()
			}
			a.tuns = nil
			return fmt.Errorf("open TUN %q: %w", spec.device.Name, err)
		}
		a.tuns = append(a.tuns, t)
	}
	return nil
}

// openTun makes the device, puts a stack behind it, and only then leads traffic
// to it: from the first packet on there is somebody who answers.
func (a *Appliance) openTun(spec *tunSpec, clusters []*clusterv3.Cluster) (t *runningTun, err error) {
	t = &runningTun{log: a.log}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.ns, t.home, err = openNamespace(spec.netns); err != nil {
		return t, err
	}
	if t.home {
		if err := spec.loopsAtHome(clusters); err != nil {
			return t, err
		}
	}
	if err := t.ns.Do(func() error {
		t.device, err = tundev.Open(spec.device)
		return err
	}); err != nil {
		return t, host.ExplainTUN(err)
	}
	t.name = t.device.Name()
	capture := spec.capture
	capture.Name = t.name
	if err := t.ns.Do(func() error {
		t.prober, err = netstack.NewSockDiag(t.device.Index())
		return err
	}); err != nil {
		return t, err
	}
	t.stack, err = netstack.New(capture, netstack.Deps{
		Device: t.device, Lookup: a.registry.Lookup, Flows: a.flows, Prober: t.prober, Log: a.log,
		Overload: a.overload,
	})
	if err != nil {
		return t, err
	}
	t.run(a.cannotGoOn)
	plan := spec.plan
	plan.Interface = t.name
	if t.applied, err = host.Apply(context.Background(), t.ns, plan); err != nil {
		return t, err
	}
	t.watch(a.stats.Scope(tunPrefix(t.name), tunTag(t.name)))
	t.unexport = a.exportStack(t.name, t.stack)
	a.log.Info("capturing", "device", t.name, "addresses", len(plan.Addresses), "routes", len(plan.Routes))
	return t, nil
}

// openNamespace opens the namespace for a device. home says that it is the one
// culvert's own sockets are in, by whatever name: the path may be any link to it.
func openNamespace(path string) (ns *host.Namespace, home bool, err error) {
	current, err := host.CurrentNamespace()
	if err != nil || path == "" {
		return current, true, err
	}
	defer current.Close()
	if ns, err = host.OpenNamespace(path); err != nil {
		return nil, false, err
	}
	return ns, ns.Same(current), nil
}

// run moves packets until close; a device that is lost before is told to lost.
func (t *runningTun) run(lost func(error)) {
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	t.wg.Go(func() { // ends with stop, or with the device
		if err := t.stack.Run(ctx); err != nil && ctx.Err() == nil {
			lost(&deviceLostError{t.name, err})
		}
	})
}

// watch keeps what leads to the device as it was planned, until close: a device
// that somebody sets down and up again has lost its routes, and its traffic
// would leave past the tunnel.
func (t *runningTun) watch(s *stats.Scope) {
	ctx, stop := context.WithCancel(context.Background())
	t.stopWatch = stop
	down, restored, failed := s.Counter("link_down"), s.Counter("plan_restored"), s.Counter("plan_restore_failed")
	t.watching.Go(func() { // ends with stopWatch
		err := t.applied.Watch(ctx, func(c host.Change) {
			switch {
			case c.Down:
				down.Inc()
				t.log.Error("the device was set down: nothing is captured until it is up again", "device", t.name)
			case c.Err != nil:
				failed.Inc()
				t.log.Error("what leads to the device cannot be put back", "device", t.name, "restored", c.Restored, "err", c.Err)
			default:
				restored.Inc()
				t.log.Warn("what leads to the device was taken away, and is put back", "device", t.name, "restored", c.Restored)
			}
		})
		if err != nil {
			t.log.Error("the device is not watched", "device", t.name, "err", err)
		}
	})
}

// drain stops capturing and waits for the flows, and for what they have still
// to send.
func (t *runningTun) drain(ctx context.Context) {
	if err := t.stack.Drain(ctx); err != nil {
		t.log.Warn("captured flows are cut off", "device", t.name, "err", err)
	}
}

// close takes back what leads to the device, then ends the stack, then the
// device.
func (t *runningTun) close() {
	var errs []error
	if t.stopWatch != nil {
		t.stopWatch()
		t.watching.Wait()
	}
	if t.applied != nil {
		errs = append(errs, t.applied.Undo())
	}
	if t.unexport != nil {
		t.unexport()
	}
	if t.stop != nil {
		t.stop()
		t.wg.Wait()
	}
	if t.stack != nil {
		t.stack.Close()
	}
	if t.prober != nil {
		errs = append(errs, t.prober.Close())
	}
	if t.device != nil {
		errs = append(errs, t.device.Close())
	}
	errs = append(errs, t.ns.Close())
	if err := errors.Join(errs...); err != nil {
		t.log.Warn("device not put back", "device", t.name, "err", err)
	}
}
