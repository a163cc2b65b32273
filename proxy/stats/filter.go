package stats

import "regexp"

// Filter picks metrics for a page.
type Filter struct {
	// UsedOnly leaves out what was never touched.
	UsedOnly bool
	// Name is searched in the full name; nil matches all.
	Name *regexp.Regexp
	// Kind picks one kind of metric; zero is all.
	Kind Kind
}

// Kind is a kind of metric.
type Kind uint8

// The kinds.
const (
	All Kind = iota
	Counters
	Gauges
	Histograms
)
