package world

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"culvert/appliance/host"
	"culvert/bench/process"
	"culvert/proxy/transport/selfsigned"
	"culvert/test/impair"
)

// Addresses of the links' ends.
const (
	FromApp     = "198.51.100.2"  // the origin, for who is in app
	FromHere    = "198.51.100.34" // the origin, for who is in here
	Gateway     = "198.51.100.66" // the gateway, for who is in here
	FromGateway = "198.51.100.98" // the origin, for who is in the gateway
	// FarGateway is the gateway over the link that is impaired. It has an origin
	// there.
	FarGateway = "198.51.100.130"
	// OriginPort is where it listens, on each of its addresses.
	OriginPort = 9000
	// GatewayName is what the gateway's certificate is for.
	GatewayName = "gateway.bench.test"
)

// World is made by New and ended by Close.
type World struct {
	App, Here, Gateway, Origin *host.Namespace
	// Dir is for files that last as long as the world. ca.pem, gateway.pem and
	// gateway.key are in it.
	Dir string

	origins []*process.Process
	wire    *impair.Wire
}

// impaired is what the second link to the gateway does, each way: a round trip
// of 50 ms, and one of a hundred packets is lost. Of more than 200 Mbit/s it would
// be how fast this machine runs the applications, the relays and the link itself
// that is measured. What may wait for its turn is a round trip's worth.
var impaired = impair.Link{Delay: 25 * time.Millisecond, Loss: 0.01, Rate: 200_000_000 / 8, Queue: 1_250_000, Seed: 1}

// New makes the namespaces, the links and the certificates, and starts the
// origin: args are the command that serves orders on the address that is
// appended to them.
func New(ctx context.Context, origin ...string) (w *World, err error) {
	w = &World{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if w.Dir, err = os.MkdirTemp("", "culvert-bench-"); err != nil {
		return w, err
	}
	for _, ns := range []**host.Namespace{&w.App, &w.Here, &w.Gateway, &w.Origin} {
		if *ns, err = host.NewNamespace(); err != nil {
			return w, err
		}
		if err = (*ns).LoopbackUp(); err != nil {
			return w, err
		}
	}
	for _, ns := range []*host.Namespace{w.App, w.Here, w.Gateway} {
		// Thousands of connections from one address to another, again and again:
		// ports must not have to rest for a minute.
		if err = ns.Sysctl("ipv4/tcp_tw_reuse", "1"); err != nil {
			return w, err
		}
	}
	for _, l := range []struct {
		from, to       *host.Namespace
		name, far      string
		address, other string
		routes         []host.Route
	}{
		{w.App, w.Origin, "uplink", "app", "198.51.100.1", FromApp, nil},
		{w.Here, w.Origin, "uplink", "here", "198.51.100.33", FromHere, byDefault(FromHere)},
		{w.Here, w.Gateway, "gateway", "here", "198.51.100.65", Gateway, nil},
		{w.Gateway, w.Origin, "uplink", "gateway", "198.51.100.97", FromGateway, nil},
	} {
		if err = host.VethPair(l.from, l.name, l.to, l.far); err != nil {
			return w, err
		}
		if err = configure(ctx, l.from, l.name, l.address, l.routes); err != nil {
			return w, err
		}
		if err = configure(ctx, l.to, l.far, l.other, nil); err != nil {
			return w, err
		}
	}
	if err = w.certificates(); err != nil {
		return w, err
	}
	if w.wire, err = impair.Connect(w.far(w.Here, "198.51.100.129"), w.far(w.Gateway, FarGateway), impaired); err != nil {
		return w, err
	}
	for ns, at := range map[*host.Namespace]string{w.Origin: "0.0.0.0", w.Gateway: FarGateway} {
		o, err := process.Start(ns, "origin", append(slices.Clone(origin), fmt.Sprintf("%s:%d", at, OriginPort))...)
		if err != nil {
			return w, err
		}
		w.origins = append(w.origins, o)
	}
	return w, nil
}

// far is an end of the link that is impaired.
func (w *World) far(ns *host.Namespace, address string) impair.End {
	return impair.End{Namespace: ns, Interface: "far", Addresses: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(address), 28)}}
}

// byDefault is a default route, which some programs want to see. What it leads
// to forwards nothing.
func byDefault(gateway string) []host.Route {
	return []host.Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr(gateway)}}
}

func configure(ctx context.Context, ns *host.Namespace, link, address string, routes []host.Route) error {
	_, err := host.Apply(ctx, ns, host.Plan{ // undone by the namespace's end
		Interface: link, Routes: routes,
		Addresses: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(address), 28)},
	})
	return err
}

func (w *World) certificates() error {
	ca, err := selfsigned.NewAuthority("culvert bench")
	if err != nil {
		return err
	}
	gateway, err := ca.Issue(GatewayName)
	if err != nil {
		return err
	}
	for name, pem := range map[string][]byte{"ca.pem": ca.PEM(), "gateway.pem": gateway.Certificate, "gateway.key": gateway.Key} {
		if err := os.WriteFile(filepath.Join(w.Dir, name), pem, 0o600); err != nil {
			return fmt.Errorf("certificates: %w", err)
		}
	}
	return nil
}

// Close ends the origin and removes everything.
func (w *World) Close() error {
	var errs []error
	for _, o := range w.origins {
		errs = append(errs, o.Stop())
	}
	if w.wire != nil {
		errs = append(errs, w.wire.Close())
	}
	for _, ns := range []*host.Namespace{w.App, w.Here, w.Gateway, w.Origin} {
		errs = append(errs, ns.Close())
	}
	if w.Dir != "" {
		errs = append(errs, os.RemoveAll(w.Dir))
	}
	return errors.Join(errs...)
}
