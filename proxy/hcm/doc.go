// Package hcm is the HTTP connection manager: the network filter that makes
// exchanges of a connection's bytes and serves each on a goroutine of its own.
//
// An exchange is admitted (checks, request id, route, upgrade decision), runs
// through the HTTP filters, and gets its one answer: a response, or a local
// reply made of the error a filter returned. Only when the filters have
// returned does the head go out, and only then does a byte of a tunnel move:
// between the two ends themselves, through network.Relay, or on the goroutine of
// an internal listener's handler. Every exchange ends in one access-log record.
//
// Read hcm.go for a connection, exchange.go for the life of an exchange,
// far_half.go for what moves after the head.
package hcm
