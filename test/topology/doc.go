// Package topology builds networks of hosts for tests: each host is a network
// namespace, each wire a veth pair. It needs no program of the system and
// cleans up after the test.
//
//	//	app 10.1.0.1 ── 10.1.0.2 gw 10.2.0.1 ── 10.2.0.2 origin
//	//	    fd00:1::1 ─ fd00:1::2    fd00:2::1 ─ fd00:2::2
//	top := topology.New(t)
//	app, gw, origin := top.Host("app"), top.Host("gw"), top.Host("origin")
//	top.Link(app, gw, "10.1.0.1/24", "10.1.0.2/24", "fd00:1::1/64", "fd00:1::2/64")
//	top.Link(gw, origin, "10.2.0.1/24", "10.2.0.2/24", "fd00:2::1/64", "fd00:2::2/64")
//	app.Default("10.1.0.2", "fd00:1::2")
//	origin.Default("10.2.0.1", "fd00:2::1")
//	gw.Forward()
//	ln := origin.Listen("tcp", "10.2.0.2:80")
//	c, err := app.Dial("tcp", "10.2.0.2:80")
//
// # A host behind a TUN
//
// A host that is linked to nothing has only lo. A TUN made within it
// ([Host.Do], or a configuration's netns field set to [Host.Path]) is its only
// way out, while the process that serves the TUN keeps its own sockets wherever
// it opens them: that is how an application is captured without its host being
// changed, and how the end-to-end tests are built.
//
//	app: lo, culvert0        (the test's own namespace, or another host:
//	          └─ descriptor ─→ culvert ── gateway ── origin)
//
// # Destinations that do not answer
//
// The kernel has three ways to say no, set on the router that leads to the
// destination, one hop from whoever dials:
//
//	[Host.Unreachable]  ICMP host unreachable; v6: no route
//	[Host.Prohibited]   ICMP administratively prohibited
//	[Host.Silent]       dropped without a word
//
// For IPv4 the kernel limits the first two to five at once and one a second
// after that, per sender and for the whole machine, which a namespace cannot
// change: one probe a second is told the truth, a burst is not.
//
// A port on which nobody listens answers RST by itself. On the dialling host
// itself the same routes give an error from connect() at once, and Silent gives
// EINVAL: to get silence, the drop must be a hop away.
package topology
