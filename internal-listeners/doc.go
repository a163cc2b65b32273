// Package internallisteners is where internal listeners are found by name: the
// netstack's capture, tcp_proxy with an internal endpoint and the router that
// terminates a CONNECT into one all ask the same Registry and hand the handler
// their Flow itself, unanswered. Nothing is copied through a pipe, so a refusal
// travels outward through any number of hops.
package internallisteners
