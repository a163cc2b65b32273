// Package proxyprotocol is the PROXY protocol, versions 1 and 2: the header
// that names the two ends of a connection in front of its bytes, and the state
// in which it crosses culvert from one connection to the next.
//
// The specification is haproxy's proxy-protocol.txt; section numbers refer to
// it.
package proxyprotocol
