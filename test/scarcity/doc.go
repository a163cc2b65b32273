// Package scarcity is culvert where something is short: very many flows at once,
// few descriptors, little memory. The real binary, a TUN, and programs at both
// ends that know nothing of it.
//
//	app: lo, culvert0            middle: lo                        origin
//	          └─ descriptor ─→ capture ── 127.0.0.1 ── gateway ── 10.2.0.2
//
// An application and an origin are this test program started again, so that each
// has descriptors of its own.
package scarcity
