package network

import (
	"context"
	"net"
)

// Conn is a byte stream with two independent directions: a captured flow, a
// socket, a tunnel stream or an internal pipe.
//
// Read returns io.EOF after the peer ended its direction cleanly, and a
// *ResetError (in the chain) after the peer aborted it. Close after both
// directions ended is silent; Close before that is an Abort with no cause.
// One goroutine may read while another writes; CloseWrite belongs to the
// writer; Abort and Close may be called from anywhere, more than once.
type Conn interface {
	net.Conn
	// CloseWrite ends our sending direction only: FIN, END_STREAM, close_notify.
	CloseWrite() error
	// Abort ends both directions at once; the peer sees a reset (RST,
	// RST_STREAM). Pending Reads and Writes return cause.
	Abort(cause error)
}

// Flow is an arrival not yet answered. It ends in exactly one way: rejected, or
// accepted and its Conn closed. Methods are called from the goroutine that
// serves the flow.
type Flow interface {
	// Info describes the flow. The caller may write to it until Relay starts.
	Info() *StreamInfo
	// Accept answers yes (SYN-ACK, 200, or nothing to say) and returns the
	// stream. It is idempotent: a second call returns the same Conn. The caller
	// closes the Conn. An error means the peer is gone; the flow has ended.
	Accept(ctx context.Context) (Conn, error)
	// Reject answers no, as VerdictFor(cause) says: RST, ICMP, silence, or an
	// HTTP status. Only before Accept; after it, or twice, it does nothing.
	Reject(cause error)
	// Context ends when the peer gives up before it was answered, and when the
	// flow is over. Dials made for the flow use it.
	Context() context.Context
}

// Handler serves a flow to its end. When ServeFlow returns, nothing about f is
// running or open. The error is why the flow ended, nil for a clean end.
type Handler interface {
	ServeFlow(ctx context.Context, f Flow) error
}

// HandlerFunc is a function that is a Handler.
type HandlerFunc func(ctx context.Context, f Flow) error

// ServeFlow calls fn.
func (fn HandlerFunc) ServeFlow(ctx context.Context, f Flow) error { return fn(ctx, f) }

// HandlerLookup finds the handler of an internal listener by its name. It is
// asked for each flow, so that a flow meets the configuration of its day.
type HandlerLookup func(name string) (Handler, bool)

// Unwrapper is a Conn that only observes: Relay looks through it for the ends
// beneath, so that a wrapper does not cost the fast path.
type Unwrapper interface{ Unwrap() Conn }

// Beneath finds a T in c or beneath the observers around it.
func Beneath[T any](c Conn) (T, bool) {
	for {
		if t, ok := c.(T); ok {
			return t, true
		}
		u, ok := c.(Unwrapper)
		if !ok {
			var none T
			return none, false
		}
		c = u.Unwrap()
	}
}
