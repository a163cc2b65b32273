// Package transport is what wraps the bytes of a connection: nothing, or TLS.
// A downstream transport wraps a connection after it is accepted, an upstream
// transport after it is dialled.
package transport
