package appliance

import (
	"context"
	"fmt"
	"net"
	"time"

	"culvert/appliance/admin"
	"culvert/proxy/cluster"
	"culvert/proxy/network"
	"culvert/proxy/transport"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
)

// adminMode keeps everybody else out: the pages show who talks to whom.
const adminMode = 0o600

// listenAdmin opens the admin's socket; nil if the configuration has none.
func (a *Appliance) listenAdmin(ctx context.Context, g *generation) (net.Listener, error) {
	if g.admin.IsZero() {
		return nil, nil
	}
	ln, err := listenSocket(ctx, g.admin, adminMode)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	return &reservedListener{ln, newReserve(adminDescriptors)}, nil
}

// serveAdmin ends with ctx.
func (a *Appliance) serveAdmin(ctx context.Context, ln net.Listener) {
	began := time.Now()
	s := admin.New(admin.Deps{
		State: a.shownState, Stats: a.stats, Listeners: a.listenerStatus, Flows: a.flows, Log: a.log,
		Clusters:     func() []cluster.Status { return a.generation().clusters.Status() },
		Certificates: func() []transport.Certificate { return a.generation().secrets.Certificates() },
		Paths:        func() *admin.Paths { return a.generation().allowed },
		Config: func() (*bootstrapv3.Bootstrap, time.Time) {
			g := a.generation()
			return g.doc.Bootstrap, g.built
		},
		Process: admin.Process{Version: a.opt.Version, Began: began, ConfigPath: a.src.Path, DrainTime: a.opt.DrainTime},
		Control: controls{a}, Level: a.opt.Level,
	})
	if err := s.Serve(ctx, ln); err != nil {
		a.log.Error("admin ended", "err", err)
	}
}

// generation is the one that meets new connections.
func (a *Appliance) generation() *generation {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current
}

// listenerStatus shows where each listener is, with the port that the kernel
// chose where the configuration leaves it to it.
func (a *Appliance) listenerStatus() []admin.ListenerStatus {
	g := a.generation()
	out := []admin.ListenerStatus{}
	for i, l := range g.listeners {
		address := l.Address()
		switch {
		case l.Internal():
			address = network.InternalAddress(l.Name(), "")
		case g.uses[i] != nil:
			address = network.AddressOf(g.uses[i].Addr())
		}
		out = append(out, admin.ListenerStatus{Name: l.Name(), Address: address.String()})
	}
	return out
}
