// Package overload is Envoy's overload manager: it looks at how much memory the
// process holds, says how near that is to what it may hold, and turns on what
// then has to give way: new connections and requests first, at last the flows
// that hold the most.
//
// Those who give way ask a Manager, each at its own door: the netstack for each
// SYN, a listener for each connection, the HTTP connection manager for each
// request, whoever makes a buffer for its size.
package overload
