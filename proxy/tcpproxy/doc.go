// Package tcpproxy is the terminal network filter that connects a flow to a
// cluster, or through a tunnel that a cluster carries (tunneling_config).
//
// It opens the far half before it answers the flow, so that whoever asked is
// told what happened at the far end: connected, refused, unreachable, nothing.
// An internal endpoint is served by its listener's handler with the flow
// itself, unanswered; its refusal is a failed attempt like any other.
package tcpproxy
