// Package stats counts what culvert does: counters, gauges and histograms
// under Envoy's names, read as Envoy's /stats text and JSON and as Prometheus
// exposition.
//
// A component takes a Scope, asks it once for its metrics and keeps the
// pointers: the hot path is one atomic operation. Asking again for the same
// name yields the same object, so that a new generation of the configuration
// counts on where the old one stopped.
package stats
