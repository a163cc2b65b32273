package neighbours

import (
	"net"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/peer"
)

const squidConfig = `
http_port ` + neighbourAddress + `
access_log stdio:DIR/squid.access
cache_log DIR/squid.cache
cache deny all
pid_filename none
coredump_dir DIR
shutdown_lifetime 0 seconds
`

// squidUsers is what htpasswd -b -c - alice secret makes.
const squidUsers = "alice:$apr1$0yaHd4JN$c27QH6mrDc1R777okMA4q.\n"

// squid is the neighbour, with directives besides the common ones.
func squid(b between, directives string) between {
	b.config = squidConfig + directives
	b.args, b.logs = []string{"squid", "-N", "-f", "CONFIG"}, []string{"squid.access", "squid.cache"}
	return b
}

// squid knows no half-close: when one side ends it ends both, whatever is under
// way, and a reset is an end to it.
func TestSquid(t *testing.T) {
	const parent = "never_direct allow all\ncache_peer " + streetAddress + " parent " + exitPort + " 0 no-query no-digest default\n"
	for _, c := range []struct {
		name, directives string
		exit             *exit
	}{
		{"as the gateway", "", nil},
		{"with culvert as its parent", parent, &exit{}},
	} {
		squid(between{
			name: c.name, entry: entry{Next: toNeighbour(hop{})}, exit: c.exit,
			fails: []string{appEndsFirst, originEndsFirst, appResets, originResets},
		}, "http_access allow CONNECT\n"+c.directives).run(t)
	}
}

// What squid says instead of a tunnel is what connect() comes to.
func TestSquidRefuses(t *testing.T) {
	need.TUN(t)
	s := newStreet(t)
	app := s.top.Host("captured")
	b := squid(between{}, `
acl open port 80
acl closed port 81
http_access allow CONNECT open
http_access allow CONNECT closed
http_access deny all
`)
	s.neighbour(b.config, b.logs, append([]string{need.Command(t, "squid")}, b.args[1:]...)...)
	s.startEntry(entry{Next: toNeighbour(hop{}), Netns: app.Path()})
	peer.Serve(t, s.listen("80"), peer.Echo())
	for _, c := range []struct {
		name, port string
		want       peer.Outcome
	}{
		{"200", "80", peer.Connected},
		{"503, the port is closed", "81", peer.Refused},
		{"403, squid forbids it", "82", peer.HostUnreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := peer.Connect(t.Context(), app, "tcp", net.JoinHostPort(originAddress, c.port), time.Minute)
			r.Close()
			if r.Outcome != c.want {
				t.Errorf("%v, want %s", r, c.want)
			}
		})
	}
}
