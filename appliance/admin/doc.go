// Package admin is the window an operator looks through, and the few switches
// beside it, in Envoy's shapes over HTTP, on a loopback address or a unix socket
// only. It sees the rest of culvert through the small interfaces it declares;
// every page is a view, none holds state.
package admin
