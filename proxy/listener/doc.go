// Package listener is where a flow meets a configuration: the filter chain that
// matches it, the transport that wraps it, and the terminal filter that serves
// it. A captured flow and one that enters an internal listener arrive through
// ServeFlow, unanswered, and stay so until the filter has an answer; Serve makes
// the same of a kernel socket's connections.
package listener
