// Package network is the leaf every part of culvert shares: what a byte stream
// is, what an arrival is, what is known about it, how it ends, and the one
// place that moves bytes.
//
// A Flow is an arrival not yet answered: a SYN captured from a TUN, a socket
// accepted by the kernel, a CONNECT request, a dial of an internal listener. A
// Handler serves it to its end. Whoever serves it opens the far half first,
// then calls Flow.Accept or Flow.Reject, then hands both Conns to Relay.
//
// The package imports the standard library and golang.org/x/sys only.
package network
