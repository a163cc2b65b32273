package h2

// Counter counts events, from any goroutine.
type Counter interface{ Inc() }

// Gauge is a number that goes up and down, from any goroutine.
type Gauge interface{ Add(delta int64) }

// Stats are the codec's statistics, shared by all connections of a listener or
// cluster. The names are Envoy's http2.*; every field must be set.
type Stats struct {
	GoawaySent, HeaderOverflow, HeadersNoStream,
	EmptyFramesFlood, PriorityFlood, WindowUpdateFlood, ControlFlood, OutboundFlood,
	PrematureResets, KeepaliveTimeout, MessagingError,
	RxReset, TxReset, RefusedErrors, Trailers, FlushTimeout Counter

	StreamsActive Gauge
}

// NewStats makes Stats whose counters and gauges come from the two functions,
// which are given the name without the "http2." prefix.
func NewStats[C Counter, G Gauge](counter func(name string) C, gauge func(name string) G) *Stats {
	return &Stats{
		GoawaySent:        counter("goaway_sent"),
		HeaderOverflow:    counter("header_overflow"),
		HeadersNoStream:   counter("headers_cb_no_stream"),
		EmptyFramesFlood:  counter("inbound_empty_frames_flood"),
		PriorityFlood:     counter("inbound_priority_frames_flood"),
		WindowUpdateFlood: counter("inbound_window_update_frames_flood"),
		ControlFlood:      counter("outbound_control_flood"),
		OutboundFlood:     counter("outbound_flood"),
		PrematureResets:   counter("too_many_premature_resets"),
		KeepaliveTimeout:  counter("keepalive_timeout"),
		MessagingError:    counter("rx_messaging_error"),
		RxReset:           counter("rx_reset"),
		TxReset:           counter("tx_reset"),
		RefusedErrors:     counter("stream_refused_errors"),
		Trailers:          counter("trailers"),
		FlushTimeout:      counter("tx_flush_timeout"),
		StreamsActive:     gauge("streams_active"),
	}
}

// nothing counts nothing.
type nothing struct{}

func (nothing) Inc()      {}
func (nothing) Add(int64) {}

func noStats() *Stats {
	none := func(string) nothing { return nothing{} }
	return NewStats(none, none)
}
