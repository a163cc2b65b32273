package h2

// Counter counts events, or sums up what they took, from any goroutine.
type Counter interface {
	Inc()
	Add(n uint64)
}

// Gauge is a number that goes up and down, from any goroutine.
type Gauge interface{ Add(delta int64) }

// Stats are the codec's statistics, shared by all connections of a listener or
// cluster. The names are Envoy's http2.*, but for TxStall: the milliseconds that
// streams have waited for the peer's flow control, each wait counted when it is
// over. Every field must be set.
type Stats struct {
	GoawaySent, HeaderOverflow, HeadersNoStream,
	EmptyFramesFlood, PriorityFlood, WindowUpdateFlood, ControlFlood, OutboundFlood,
	PrematureResets, KeepaliveTimeout, MessagingError,
	RxReset, TxReset, RefusedErrors, Trailers, FlushTimeout, TxStall Counter

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
		TxStall:           counter("tx_stall_ms"),
		StreamsActive:     gauge("streams_active"),
	}
}

// uncounted and unmeasured are statistics that nobody wants.
type (
	uncounted  struct{}
	unmeasured struct{}
)

func (uncounted) Inc()       {}
func (uncounted) Add(uint64) {}

func (unmeasured) Add(int64) {}

func noStats() *Stats {
	return NewStats(func(string) uncounted { return uncounted{} }, func(string) unmeasured { return unmeasured{} })
}
