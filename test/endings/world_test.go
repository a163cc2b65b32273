package endings

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"culvert/test/impair"
	"culvert/test/need"
	"culvert/test/peer"
	"culvert/test/program"
	"culvert/test/topology"
)

const (
	nearAddress    = "198.51.100.1"
	gatewayAddress = "198.51.100.2"
	originAddress  = "10.2.0.2"
	silentAddress  = "10.9.0.1" // behind the origin, which drops what is sent there
)

// world is the hosts, the bad link, and the culvert that stays.
type world struct {
	t                          *testing.T
	app, near, gateway, origin *topology.Host
	link                       *impair.Wire
	dir                        string
	settings                   settings
	culvert                    *program.Culvert // near
	unrest                     *unrest
}

// newWorld starts everything but the gateway, which near takes so long to reach.
func newWorld(t *testing.T, l impair.Link, timeout time.Duration) *world {
	t.Helper()
	need.Root(t)
	need.TUN(t)
	top := topology.New(t)
	w := &world{
		t: t, dir: t.TempDir(), unrest: newUnrest(),
		app: top.Host("app"), near: top.Host("near"), gateway: top.Host("gateway"), origin: top.Host("origin"),
	}
	top.Link(w.gateway, w.origin, "10.2.0.1/24", originAddress+"/24")
	w.gateway.Route("10.9.0.0/24", originAddress)
	w.origin.Silent("10.9.0.0/24")
	w.connect(l)
	w.certificates()
	w.settings = settings{Dir: w.dir, Netns: w.app.Path(), Gateway: gatewayAddress, OriginAddress: originAddress, Ways: ways(), ConnectTimeout: timeout}
	w.culvert = w.start("near", w.near, render(t, nearTemplate, w.settings))
	return w
}

func (w *world) connect(l impair.Link) {
	w.t.Helper()
	link, err := impair.Connect(
		impair.End{Namespace: w.near.Namespace, Interface: "gateway", Addresses: []netip.Prefix{netip.MustParsePrefix(nearAddress + "/24")}},
		impair.End{Namespace: w.gateway.Namespace, Interface: "near", Addresses: []netip.Prefix{netip.MustParsePrefix(gatewayAddress + "/24")}}, l)
	if err != nil {
		w.t.Fatal(err)
	}
	w.link = link
	w.t.Cleanup(func() {
		if err := link.Close(); err != nil {
			w.t.Error(err)
		}
	})
}

func (w *world) certificates() {
	w.t.Helper()
	ca := peer.NewCA(w.t)
	crt, key := ca.IssuePEM("gateway.test")
	for name, text := range map[string][]byte{"ca.pem": ca.PEM, "gateway.pem": crt, "gateway.key": key} {
		if err := os.WriteFile(filepath.Join(w.dir, name), text, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) start(name string, h *topology.Host, config string) *program.Culvert {
	w.t.Helper()
	return program.StartCulvert(w.t, program.Spec{Host: h, Binary: executable, Dir: w.dir, Name: name, Config: config})
}

// startGateway starts it, or starts it again; from then on all is calm.
func (w *world) startGateway() *program.Culvert {
	w.t.Helper()
	g := w.start("gateway", w.gateway, render(w.t, gatewayTemplate, w.settings))
	w.unrest.change()
	return g
}

// killGateway is kill -9.
func (w *world) killGateway(g *program.Culvert) {
	w.t.Helper()
	w.unrest.change()
	g.Kill()
}

// listen opens the origin's ports.
func (w *world) listen() (lns []net.Listener) {
	w.t.Helper()
	for _, way := range w.settings.Ways {
		for _, port := range []int{way.Origin(), way.Idle()} {
			lns = append(lns, w.origin.Listen("tcp", net.JoinHostPort(originAddress, strconv.Itoa(port))))
		}
	}
	return lns
}

// target is from where a flow's application connects, and to what.
func (w *world) target(p plan) (from *topology.Host, address string) {
	way := w.settings.Ways[p.modeAt]
	port := way.Origin()
	switch p.kind {
	case idles:
		port = way.Idle()
	case refused:
		port = way.Refused()
	}
	from, address = w.near, "127.0.0.1"
	if p.captured {
		from, address = w.app, originAddress
	}
	if p.kind == leaves {
		address = silentAddress
	}
	return from, net.JoinHostPort(address, strconv.Itoa(port))
}
