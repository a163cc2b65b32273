// Package matcher compiles Envoy's matchers of strings and of header fields, for
// routes and for the filters of access logs. It is pure.
package matcher
