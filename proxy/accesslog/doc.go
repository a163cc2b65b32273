// Package accesslog writes one record for each flow and each HTTP exchange, as
// Envoy's access loggers do: to a file, standard output or standard error.
//
// A record is appended whole to the buffer of its sink and written from there,
// many at a time, so that lines never interleave and a flow does not wait for a
// disk. When a sink's writer cannot keep up, the flow that finds the buffer
// full waits a moment, which slows a burst down to what the sink takes; if
// even then there is no room the sink is stuck, and records are dropped and
// counted until it moves again. Traffic is worth more than its log: a pipe that
// nobody reads must not stop a gateway.
package accesslog
