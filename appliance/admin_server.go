package appliance

import (
	"context"
	"fmt"
	"net"
	"os"

	"culvert/appliance/admin"
	"culvert/proxy/network"
)

// listenAdmin opens the admin's socket; nil if the configuration has none. A
// unix socket is for this user alone.
func (a *Appliance) listenAdmin(ctx context.Context, g *generation) (net.Listener, error) {
	if g.admin.IsZero() {
		return nil, nil
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, g.admin.Network(), g.admin.String())
	if err != nil {
		return nil, fmt.Errorf("admin: listen on %v: %w", g.admin, err)
	}
	if g.admin.Kind == network.AddressPipe {
		if err := os.Chmod(g.admin.Name, 0o600); err != nil {
			_ = ln.Close()
			return nil, fmt.Errorf("admin: %w", err)
		}
	}
	return ln, nil
}

// serveAdmin ends with ctx.
func (a *Appliance) serveAdmin(ctx context.Context, ln net.Listener) {
	s := admin.New(admin.Deps{
		State: func() string { return a.state.Load().(string) },
		Stats: a.stats, Listeners: a.listenerStatus, Flows: a.flows, Log: a.log,
	})
	if err := s.Serve(ctx, ln); err != nil {
		a.log.Error("admin ended", "err", err)
	}
}

func (a *Appliance) listenerStatus() []admin.ListenerStatus {
	a.mu.Lock()
	g := a.current
	a.mu.Unlock()
	out := []admin.ListenerStatus{}
	for _, l := range g.listeners {
		address := l.Address().String()
		if l.Internal() {
			address = network.InternalAddress(l.Name(), "").String()
		}
		out = append(out, admin.ListenerStatus{Name: l.Name(), Address: address})
	}
	return out
}
