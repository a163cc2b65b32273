package internallisteners

import (
	"maps"
	"sync/atomic"

	"culvert/proxy/network"
)

// Registry maps the names of internal listeners to their handlers. It is made
// empty, so that listeners and clusters can be built around it, and filled
// last; a new configuration replaces its whole content at once. It is safe
// from any goroutine.
type Registry struct {
	handlers atomic.Pointer[map[string]network.Handler]
}

// NewRegistry makes an empty registry.
func NewRegistry() *Registry {
	r := &Registry{}
	r.Replace(nil)
	return r
}

// Replace makes handlers the whole content. Flows already handed to an earlier
// handler stay with it. The map is copied.
func (r *Registry) Replace(handlers map[string]network.Handler) {
	m := maps.Clone(handlers)
	r.handlers.Store(&m)
}

// Lookup finds the handler of an internal listener. It is a
// network.HandlerLookup: ask for each flow, keep no answer.
func (r *Registry) Lookup(name string) (network.Handler, bool) {
	h, ok := (*r.handlers.Load())[name]
	return h, ok
}
