// Package h1 is HTTP/1.1 (RFC 9112) and, where allowed, HTTP/1.0: a codec of
// message heads on the raw connection, in both roles. It is strict in what it
// takes, since a message that two readers delimit differently is an attack, and
// lossless in what it passes on: order, duplicates and the case of names.
//
// A connection carries one exchange at a time. The server answers pipelined
// requests one after the other; the client may be used again only after an
// exchange that was whole on both sides, and never after a CONNECT or an
// upgrade, whatever the answer was (RFC 9931).
//
// After the head of a CONNECT or an upgrade the rest is payload: it is never
// parsed, what came with the head is read first, and nothing can be written
// before the 2xx or 101. Then the stream is the connection: CloseWrite is its
// half-close, Reset its abort, and TunnelConn gives the connection itself to
// whoever moves bytes faster than we do.
//
// The goroutine that reads a connection's input is whoever needs it: ServeConn
// for the next head, a stream's reader for its body, and, while nobody does, a
// watcher that notices a peer that leaves. A watcher reads ahead at most one
// buffer, which the next reader finds as its first bytes; so it works over TLS
// and in memory as over a socket, and never competes with a reader. It gives
// nothing of what it read to anybody before the answer is sent.
package h1
