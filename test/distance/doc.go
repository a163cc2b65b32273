// Package distance holds what eight flows carry through a gateway that is far
// away against what they carry without one: over a link whose round trip is long
// and which loses packets.
//
//	near                                gateway
//	a port that is tunnelled, culvert   culvert, and the origin
//	198.51.100.1 ══════════════════════ 198.51.100.2
//	            50 ms, 1 % each way
//
// Both kernels have the congestion control that there is in all of them, Reno,
// whose window depends on what is lost, as that of CUBIC, the usual one, does
// here: what the link carries then depends on it, and not on how fast the machine
// is.
package distance
