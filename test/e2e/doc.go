// Package e2e holds the tests of the whole: the real binary, run as real
// processes in network namespaces, judged by what applications and origins see.
//
//	app            client            gateway            origin
//	only way out:  culvert captures  culvert terminates peer, or a real server
//	the TUN        and tunnels
//	198.18.0.1 ─── 192.0.2.1 ─────── 192.0.2.2
//	                                 10.2.0.1 ───────── 10.2.0.2
//	fd00:198:18::1                   fd00:2::1 ──────── fd00:2::2
//
// A world is those four hosts; a culvert is one running process. What a test
// claims of culvert it claims, where it can, of the kernel alone as well: the
// same table runs over a world where the app is wired to the gateway, which
// then only routes.
//
// The package has no code of its own; everything is in its tests.
package e2e
