// Package netstack is the TCP/IP stack that answers for every address captured
// traffic may want to reach: gVisor's, over one link.Device.
//
// A SYN becomes a network.Flow before anything answers it (capture.go). The
// flow is handed to the listener that Config.TCPListener names, on a goroutine
// of its own; there the far end is reached first, and then the application is
// told what it would have been told without us: Accept sends the SYN-ACK,
// Reject sends RST, an ICMP error that quotes the SYN, or nothing at all. What
// was told is remembered, so that a retransmitted SYN hears the same and starts
// nothing anew. An application that goes away while it waits cancels the dial.
//
// Errors of gVisor's, which are not errors of Go's, stop at this package.
package netstack
