package listener

import (
	"context"
	"errors"
	"fmt"

	"culvert/proxy/network"
)

// errTransportTimeout is the cause of a context that
// transport_socket_connect_timeout ended.
var errTransportTimeout = errors.New("transport handshake timed out")

// wrap finishes the chain's handshake, which needs bytes: the flow is accepted
// before anybody knows whether the far end can be reached, and says so.
func (l *Listener) wrap(ctx context.Context, c *chain, f network.Flow) (network.Flow, error) {
	if c.transport == nil {
		return f, nil
	}
	info := f.Info()
	raw, err := f.Accept(ctx)
	if err != nil {
		err = network.WithReason(network.ReasonCanceled, fmt.Errorf("listener %q: accept: %w", l.name, err))
		info.Fail(err)
		return nil, err
	}
	info.AcceptedEarly = true
	within, cancel := withTimeout(ctx, c)
	defer cancel()
	conn, err := c.transport.Wrap(within, raw, info)
	if err != nil {
		if errors.Is(context.Cause(within), errTransportTimeout) {
			l.n.transportTimeout.Inc()
			info.TerminationDetails = "transport_socket_timeout"
			err = errTransportTimeout
		}
		info.TransportFailure = err.Error()
		info.Cause = fmt.Errorf("listener %q: handshake: %w", l.name, err)
		return nil, info.Cause
	}
	return accept(f, conn), nil
}

// accept is f, which was answered early, and what its connection has become.
func accept(f network.Flow, conn network.Conn) *acceptedFlow {
	a := &acceptedFlow{Flow: f, conn: conn}
	switch f := f.(type) {
	case *socketFlow:
		a.socket = f
	case *acceptedFlow:
		a.socket = f.socket
	}
	return a
}

func withTimeout(ctx context.Context, c *chain) (context.Context, context.CancelFunc) {
	if c.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, c.timeout, errTransportTimeout)
}

// acceptedFlow is a flow whose answer was given before the filter was asked.
type acceptedFlow struct {
	network.Flow
	socket   *socketFlow // beneath; nil if there is none
	conn     network.Conn
	rejected error
	taken    bool
}

// Context implements network.Flow. The peer is still watched: nobody reads from
// it before the filter has taken the connection.
func (f *acceptedFlow) Context() context.Context {
	if f.socket != nil && !f.taken && f.rejected == nil {
		f.socket.startWatch()
	}
	return f.Flow.Context()
}

// Accept implements network.Flow.
func (f *acceptedFlow) Accept(context.Context) (network.Conn, error) {
	if f.rejected != nil {
		return nil, f.rejected
	}
	if f.socket != nil {
		f.socket.stopWatch()
	}
	if f.Flow.Context().Err() != nil && !f.taken {
		return nil, context.Cause(f.Flow.Context())
	}
	f.taken = true
	return f.conn, nil
}

// Reject can only reset: the yes cannot be taken back.
func (f *acceptedFlow) Reject(cause error) {
	if f.taken || f.rejected != nil {
		return
	}
	f.rejected = cause
	if f.socket != nil {
		f.socket.stopWatch()
	}
	if f.Info().Cause == nil {
		f.Info().Fail(cause)
	}
	f.conn.Abort(cause)
}
