package stats

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Filter picks metrics for a page.
type Filter struct {
	// UsedOnly leaves out what was never touched.
	UsedOnly bool
	// Name is searched in the full name; nil matches all.
	Name *regexp.Regexp
	// Kind picks one kind of metric; zero is all.
	Kind Kind
	// Buckets says how histograms are written as text.
	Buckets Buckets
}

// Kind is a kind of metric.
type Kind uint8

// The kinds.
const (
	All Kind = iota
	Counters
	Gauges
	Histograms
	TextReadouts // culvert has none; the page is empty
)

// Buckets is a way to write histograms as text.
type Buckets uint8

// The ways.
const (
	Summary    Buckets = iota // quantiles
	Cumulative                // values up to each bound
	Disjoint                  // values between two bounds
)

// ParseFilter reads the query of /stats: usedonly, filter, type,
// histogram_buckets. Parameters it does not know are the caller's.
func ParseFilter(q url.Values) (Filter, error) {
	var f Filter
	var err error
	f.UsedOnly = q.Has("usedonly")
	if s := q.Get("filter"); s != "" {
		if f.Name, err = regexp.Compile(s); err != nil {
			return Filter{}, fmt.Errorf("filter: %w", err)
		}
	}
	if f.Kind, err = choose(q, "type", map[string]Kind{
		"": All, "all": All, "counters": Counters, "gauges": Gauges,
		"histograms": Histograms, "textreadouts": TextReadouts,
	}); err != nil {
		return Filter{}, err
	}
	f.Buckets, err = choose(q, "histogram_buckets", map[string]Buckets{
		"": Summary, "summary": Summary, "cumulative": Cumulative, "disjoint": Disjoint,
	})
	return f, err
}

func choose[T any](q url.Values, name string, values map[string]T) (T, error) {
	v, ok := values[strings.ToLower(q.Get(name))]
	if !ok {
		return v, fmt.Errorf("%s: unknown value %q", name, q.Get(name))
	}
	return v, nil
}

func (f Filter) wants(kind Kind, name string, used bool) bool {
	return (f.Kind == All || f.Kind == kind) &&
		(used || !f.UsedOnly) &&
		(f.Name == nil || f.Name.MatchString(name))
}
