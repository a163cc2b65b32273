// Package soak runs both ends at full rate for a long time, and looks whether
// the last minutes are as the first: what a byte costs, how many there are, and
// what the processes hold.
//
//	app            near                    gateway                origin
//	only way out:  culvert captures,       culvert terminates
//	the TUN        HTTP/2 CONNECT over TLS
//	198.18.0.1 ─── 192.0.2.1 ───────────── 192.0.2.2
//	                                       10.2.0.1 ───────────── 10.2.0.2
//
// Elephants move bytes as fast as they go, both ways; mice come and go, at a
// fixed rate; idle flows are there.
//
//	make soak            half an hour, with a verdict on costs
//	make test            about a minute: what the processes hold must not grow
//
// The package has no code of its own; everything is in its tests.
package soak
