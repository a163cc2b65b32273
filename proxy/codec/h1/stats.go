package h1

// Counter is what Stats counts with; Inc is called from any goroutine.
type Counter interface{ Inc() }

// Stats are the codec's statistics, shared by all connections of a listener or
// cluster. The names are Envoy's http1.*; every field must be set.
type Stats struct {
	// DroppedUnderscores counts fields, RejectedUnderscores requests.
	DroppedUnderscores, RejectedUnderscores Counter
	// ResponseFlood and Metadata stay at 0: a response is written before the
	// next request is read, and metadata is not forwarded.
	ResponseFlood, Metadata Counter
}

// NewStats makes Stats whose counters come from counter, which is given the
// name without the "http1." prefix.
func NewStats[C Counter](counter func(name string) C) *Stats {
	return &Stats{
		DroppedUnderscores:  counter("dropped_headers_with_underscores"),
		RejectedUnderscores: counter("requests_rejected_with_underscores_in_headers"),
		ResponseFlood:       counter("response_flood"),
		Metadata:            counter("metadata_not_supported_error"),
	}
}

// nothing counts nothing.
type nothing struct{}

func (nothing) Inc() {}

func noStats() *Stats { return NewStats(func(string) nothing { return nothing{} }) }
