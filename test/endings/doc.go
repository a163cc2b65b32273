// Package endings lets flows end in every way, in every mode of tunnel, over a
// link that loses and corrupts packets, while the gateway is killed and started
// again under them, and holds what each of the two ends was told against what
// the other did.
//
//	app            near                      gateway            origin
//	only way out:  culvert: captures, and    culvert: a port    the other end
//	the TUN        listens for who is here   for each mode      of each flow
//	198.18.0.1 ─── 198.51.100.1 ═══════════ 198.51.100.2
//	                          a bad link     10.2.0.1 ───────── 10.2.0.2
//
// A flow has a number, and from that and a seed follow its mode, its ending, its
// bytes and its pauses ([plan] in the tests). Both ends are in the test's own
// process; the first bytes of a flow are its number, so that the ends find each
// other. What the two have seen is judged when both are over.
//
// The package has no code of its own; everything is in its tests.
package endings
