// Package cluster is where a flow leaves: endpoints, which of them is picked,
// who may be reached at all, how it is dialled, and the pools of HTTP
// connections to it. One call of Open or OpenStream is one attempt.
//
// Endpoints that the configuration names are the operator's word. A target that
// a client chose passes an egress policy on the very address that is dialled.
// The package knows nothing of tunnels.
package cluster
