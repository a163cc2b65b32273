package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"culvert/test/need"
	"culvert/test/peer"
	"culvert/test/topology"
)

// Addresses of a world. Those of the origin's side are the same whether culvert
// is in the way or not.
const (
	clientAddress  = "192.0.2.1"
	gatewayAddress = "192.0.2.2"
	gatewayPort    = "443"
	gatewayName    = "gateway.test"

	origin4, origin6 = "10.2.0.2", "fd00:2::2"
	// On the origin's network, and nobody's.
	absent4, absent6 = "10.2.0.99", "fd00:2::99"
	// Behind the origin, which drops what is sent there.
	silent4, silent6 = "10.9.0.1", "fd00:9::1"
)

// world is the hosts of one test, and its scratch directory.
type world struct {
	t                            *testing.T
	top                          *topology.Topology
	app, client, gateway, origin *topology.Host
	dir                          string
	ca                           *peer.CA
}

// newWorld makes the hosts, without the wire from the app to anybody.
//
//	app    client ── gateway ── origin ──┤ 10.9.0.0/24, fd00:9::/64 (dropped)
func newWorld(t *testing.T) *world {
	t.Helper()
	need.Root(t)
	need.TUN(t)
	need.IPv6(t)
	top := topology.New(t)
	w := &world{
		t: t, top: top, dir: t.TempDir(), ca: peer.NewCA(t),
		app: top.Host("app"), client: top.Host("client"), gateway: top.Host("gateway"), origin: top.Host("origin"),
	}
	top.Link(w.client, w.gateway, clientAddress+"/30", gatewayAddress+"/30")
	top.Link(w.gateway, w.origin, "10.2.0.1/24", origin4+"/24", "fd00:2::1/64", origin6+"/64")
	w.origin.Default("10.2.0.1", "fd00:2::1")
	w.gateway.Route("10.9.0.0/24", origin4)
	w.gateway.Route("fd00:9::/64", origin6)
	w.origin.Silent("10.9.0.0/24", "fd00:9::/64")
	w.giveUpQuickly()
	for name, pem := range w.certificates() {
		w.write(name, pem)
	}
	return w
}

// giveUpQuickly makes the gateway's kernel say of a neighbour that is not there
// that it is unreachable after a tenth of a second, not three seconds.
func (w *world) giveUpQuickly() {
	w.t.Helper()
	for _, key := range []string{"ipv4/neigh/origin/", "ipv6/neigh/origin/"} {
		for name, value := range map[string]string{"mcast_solicit": "1", "retrans_time_ms": "100"} {
			if err := w.gateway.Sysctl(key+name, value); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func (w *world) certificates() map[string][]byte {
	w.t.Helper()
	files := map[string][]byte{"ca.pem": w.ca.PEM}
	files["gateway.pem"], files["gateway.key"] = w.ca.IssuePEM(gatewayName)
	files["client.pem"], files["client.key"] = w.ca.IssuePEM("client.test")
	return files
}

// file is a path in the world's scratch directory.
func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name string, content []byte) string {
	w.t.Helper()
	path := w.file(name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// wireApp leads the app to the origin by the kernel alone: the gateway routes.
func (w *world) wireApp() {
	w.t.Helper()
	w.top.Link(w.app, w.gateway, "10.1.0.1/24", "10.1.0.2/24", "fd00:1::1/64", "fd00:1::2/64")
	w.app.Default("10.1.0.2", "fd00:1::2")
	w.gateway.Forward()
}

// startBoth starts a culvert at each end: the gateway, then the capture of
// everything the app sends.
func (w *world) startBoth() (capture, gateway *culvert) {
	w.t.Helper()
	gateway = w.startGateway()
	return w.startCapture(), gateway
}
