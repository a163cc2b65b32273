// Package neighbours stands culvert beside the programs that it meets in the
// world: clients of proxies, proxies, and what sits between two culverts. Each is
// Debian's, each process is real, and each test says what holds through it.
//
//	app            street                                           origin
//	10.1.0.1 ───── 10.1.0.2    entry ══ neighbour ══ exit ───────── 10.2.0.2
//	                :10000              :3128       :10001  10.2.0.1
//
// The entry is a culvert that puts TCP into tunnels, the exit one that takes it
// out. A neighbour stands between them, or in the place of one of them.
//
// The package has no code of its own; everything is in its tests.
package neighbours
