// Package h2 is HTTP/2 (RFC 9113, RFC 8441): one connection core in both roles,
// made for long-lived tunnels. Each direction of a stream ends on its own, in
// either role; a reset carries any code; bytes that came before an end are
// delivered before it.
//
// One goroutine reads a connection (ServeConn's caller or Run's). It never
// waits for a write: what it has to say is queued, and is written by whoever
// holds the writer or by the flusher, the only goroutine the core starts for
// itself. Senders of DATA write themselves: flow-control credit, then their
// turn at the writer, then frame headers and payload in one writev.
//
// All state of a connection and its streams is guarded by one mutex, conn.mu,
// held for bookkeeping only and never across a read or a write of the
// connection. Waiting is done on condition variables of that mutex.
//
// Memory is bounded by the stream windows: the connection is credited when DATA
// arrives, so that no number of stuck streams can stop their neighbours, and a
// stream when its bytes are consumed.
package h2
