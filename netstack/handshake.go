package netstack

import (
	"context"
	"time"

	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// handshakeTimeout bounds the wait for the ACK. The application asked for this
// connection and has been waiting for it; whoever has not answered after some
// retransmissions of the SYN-ACK is not there.
const handshakeTimeout = 10 * time.Second

// maxHalfOpen is how many applications are waited for at once: an endpoint that
// waits for its ACK holds twice the memory of a connect that waits for it. An
// application on this machine answers within microseconds, a flood of forged
// SYNs never.
const maxHalfOpen = 512

// handshake carries the endpoint from gVisor's forwarder, which runs on a
// goroutine of its own, to the flow that waits for it.
type handshake struct {
	conn *conn      // whose queue the endpoint gets
	done chan error // receives exactly once; buffered
}

// handshake answers the flow's SYN with SYN-ACK and waits for the ACK.
func (s *Stack) handshake(ctx context.Context, f *flow) (*conn, error) {
	within, release := f.whileAnswered(ctx)
	defer release()
	select {
	case s.halfOpen <- struct{}{}:
		defer func() { <-s.halfOpen }()
	case <-within.Done():
		return nil, context.Cause(within)
	}
	h := &handshake{conn: newConn(f.entry.id), done: make(chan error, 1)}
	syn, ok := s.gate.accept(f.entry, h)
	if !ok {
		return nil, context.Cause(&f.life)
	}
	defer s.gate.accepted(f.entry)
	handled := s.forwarder.HandlePacket(f.entry.id, syn)
	syn.DecRef()
	if !handled {
		s.counters.handshakesFailed.Add(1)
		return nil, errHandshake
	}
	err := s.awaitHandshake(within, f, h)
	if err != nil {
		s.counters.handshakesFailed.Add(1)
		return nil, err
	}
	return h.conn, nil
}

// whileAnswered ends with ctx, with the flow, and when the application has had
// its time.
func (f *flow) whileAnswered(ctx context.Context) (within *network.Life, release func()) {
	within = network.NewLife(ctx)
	stop := network.AfterEnd(&f.life, func() { within.End(context.Cause(&f.life)) })
	timer := time.AfterFunc(handshakeTimeout, func() { within.End(errHandshake) })
	return within, func() {
		timer.Stop()
		stop()
		within.End(nil)
	}
}

func (s *Stack) awaitHandshake(ctx context.Context, f *flow, h *handshake) error {
	select {
	case err := <-h.done:
		return err
	case <-ctx.Done():
	}
	cause := context.Cause(ctx)
	if s.abortHandshake(f.entry.id, h) == nil {
		h.conn.Abort(cause)
	}
	return cause
}

// abortHandshake ends an endpoint that waits for its ACK and returns how the
// handshake ended after all. The endpoint may not be registered yet, so it is
// looked for until it is done.
func (s *Stack) abortHandshake(id stack.TransportEndpointID, h *handshake) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		if ep := s.stack.FindTransportEndpoint(networkProtocol(id), tcp.ProtocolNumber, id, nicID); ep != nil {
			ep.Abort()
		}
		select {
		case err := <-h.done:
			return err
		case <-again.C:
		}
	}
}

// completeHandshake is the forwarder's handler, on a goroutine of the
// forwarder's; the flow's goroutine waits for it.
func (g *gate) completeHandshake(r *tcp.ForwarderRequest) {
	g.mu.Lock()
	e := g.entries[r.ID()]
	g.mu.Unlock()
	if e == nil || e.handshake == nil { // cannot be: only Accept feeds the forwarder
		r.Complete(true)
		return
	}
	h := e.handshake
	ep, err := r.CreateEndpoint(&h.conn.queue) // SYN-ACK; waits for the ACK
	r.Complete(false)
	if err != nil {
		h.done <- errHandshake
		return
	}
	h.conn.attach(ep)
	h.conn.buffer(g.stack.overload.Buffer())
	h.done <- nil
}
