package appliance

import (
	"context"
	"fmt"
	"net"

	"culvert/appliance/admin"
	"culvert/proxy/network"
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
	s := admin.New(admin.Deps{
		State: func() string { return *a.state.Load() },
		Stats: a.stats, Listeners: a.listenerStatus, Flows: a.flows, Log: a.log,
	})
	if err := s.Serve(ctx, ln); err != nil {
		a.log.Error("admin ended", "err", err)
	}
}

// listenerStatus shows where each listener is, with the port that the kernel
// chose where the configuration leaves it to it.
func (a *Appliance) listenerStatus() []admin.ListenerStatus {
	a.mu.Lock()
	g := a.current
	a.mu.Unlock()
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
