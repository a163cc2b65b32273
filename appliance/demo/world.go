package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"culvert/appliance/host"
	"culvert/proxy/transport/selfsigned"
)

// world is the namespaces, the files and the processes of one demo. Nothing of
// it is on the host: it vanishes when the process ends.
type world struct {
	dir                          string // scratch: configurations, certificates, logs, sockets
	app, client, gateway, origin *host.Namespace
	procs                        []*process
}

// newWorld makes the namespaces and joins them with links; the app gets none.
func newWorld(ctx context.Context) (w *world, err error) {
	w = &world{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "culvert-demo-"); err != nil {
		return w, err
	}
	for _, ns := range []**host.Namespace{&w.app, &w.client, &w.gateway, &w.origin} {
		if *ns, err = host.NewNamespace(); err != nil {
			return w, err
		}
		if err = (*ns).LoopbackUp(); err != nil {
			return w, err
		}
	}
	if err = w.link(ctx); err != nil {
		return w, err
	}
	return w, w.writeCertificates()
}

// end is one end of a link.
type end struct {
	ns     *host.Namespace
	name   string
	routes []host.Route
	addrs  []string
}

// link joins client - gateway - origin. The gateway sends what it would reach
// the filtered address by to the origin, which forwards nothing: silence.
func (w *world) link(ctx context.Context) error {
	filtered := host.Route{
		Prefix: netip.PrefixFrom(netip.MustParseAddr(filteredAddress), 32), Gateway: netip.MustParseAddr(originAddress4),
	}
	for _, l := range [][2]end{
		{{ns: w.client, name: "uplink", addrs: []string{clientAddress + "/30"}},
			{ns: w.gateway, name: "client", addrs: []string{gatewayAddress + "/30"}}},
		{{ns: w.gateway, name: "uplink", addrs: []string{uplinkAddress4 + "/24", uplinkAddress6 + "/64"}, routes: []host.Route{filtered}},
			{ns: w.origin, name: "uplink", addrs: []string{originAddress4 + "/24", originAddress6 + "/64"},
				routes: []host.Route{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Gateway: netip.MustParseAddr(uplinkAddress4)}}}},
	} {
		if err := host.VethPair(l[0].ns, l[0].name, l[1].ns, l[1].name); err != nil {
			return err
		}
		for _, e := range l {
			if err := e.configure(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e end) configure(ctx context.Context) error {
	plan := host.Plan{Interface: e.name, Routes: e.routes}
	for _, a := range e.addrs {
		plan.Addresses = append(plan.Addresses, netip.MustParsePrefix(a))
	}
	_, err := host.Apply(ctx, e.ns, plan) // undone by the namespace's end
	return err
}

// writeCertificates makes a throw-away CA, the gateway's certificate and the
// client's: neither culvert talks to a stranger.
func (w *world) writeCertificates() error {
	ca, err := selfsigned.NewAuthority("culvert demo")
	if err != nil {
		return err
	}
	gw, err := ca.Issue(gatewayName)
	if err != nil {
		return err
	}
	client, err := ca.Issue("client.demo.test")
	if err != nil {
		return err
	}
	for name, pem := range map[string][]byte{
		"ca.pem": ca.PEM(), "gateway.pem": gw.Certificate, "gateway.key": gw.Key,
		"client.pem": client.Certificate, "client.key": client.Key,
	} {
		if err := os.WriteFile(w.file(name), pem, 0o600); err != nil {
			return fmt.Errorf("write certificates: %w", err)
		}
	}
	return nil
}

// close ends the processes, the namespaces and the scratch directory.
func (w *world) close() error {
	var errs []error
	for _, p := range w.procs {
		errs = append(errs, p.stop())
	}
	for _, ns := range []*host.Namespace{w.app, w.client, w.gateway, w.origin} {
		errs = append(errs, ns.Close())
	}
	if w.dir != "" {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}
