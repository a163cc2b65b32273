package streamtest

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// Pair makes a stream whose request head is req. If req.EndStream is set, the
// client's direction is over.
func Pair(req *codec.Request) (*Client, *Server) {
	p := &pair{req: req}
	p.up, p.down = newDirection(&p.mu), newDirection(&p.mu)
	p.heads = make(chan *codec.Response, 16)
	p.failed = make(chan struct{})
	c, s := &Client{end{pair: p, in: p.down, out: p.up}}, &Server{end{pair: p, in: p.up, out: p.down}}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	c.peer, s.peer = &s.end, &c.end
	if req.EndStream {
		_ = c.CloseWrite()
	}
	return c, s
}

type pair struct {
	req    *codec.Request
	heads  chan *codec.Response
	failed chan struct{} // closed by a reset

	mu       sync.Mutex
	up, down *direction
	over     bool
	code     codec.Code // of the reset; meaningful while wasReset
	wasReset bool
}

// end is what both sides have in common.
type end struct {
	*pair
	in, out *direction
	peer    *end
	ctx     context.Context // the stream's life
	cancel  context.CancelCauseFunc
}

// Client is the requesting end.
type Client struct{ end }

// Server is the answering end.
type Server struct{ end }

var (
	_ codec.ClientStream = (*Client)(nil)
	_ codec.ServerStream = (*Server)(nil)
)

// ReadResponse implements codec.ClientStream.
func (c *Client) ReadResponse(ctx context.Context) (*codec.Response, error) {
	select {
	case h := <-c.heads:
		return h, nil
	default:
	}
	select {
	case h := <-c.heads:
		return h, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.failed:
	}
	select {
	case h := <-c.heads: // it came before the reset
		return h, nil
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.in.readErr != nil {
		return nil, c.in.readErr
	}
	return nil, c.out.writeErr
}

// Request implements codec.ServerStream.
func (s *Server) Request() *codec.Request { return s.req }

// WriteResponse implements codec.ServerStream.
func (s *Server) WriteResponse(res *codec.Response) error {
	s.mu.Lock()
	err := s.out.writeErr
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.heads <- res
	if res.EndStream {
		return s.CloseWrite()
	}
	return nil
}

func (e *end) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *end) Write(p []byte) (int, error) { return e.out.write(p) }
func (e *end) CloseWrite() error           { return e.WriteTrailers(nil) }

// WriteTrailers implements codec.Stream.
func (e *end) WriteTrailers(t codec.Fields) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.out.writeErr != nil {
		return e.out.writeErr
	}
	e.out.endLocked(t)
	if e.up.ended && e.down.ended {
		e.finishLocked(codec.ErrEnded, codec.ErrEnded)
	}
	return nil
}

// Trailers implements codec.Stream.
func (e *end) Trailers() codec.Fields {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.in.trailers
}

// Reset implements codec.Stream.
func (e *end) Reset(code codec.Code, cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return
	}
	if cause == nil {
		cause = errors.New("reset without a cause")
	}
	e.code, e.wasReset = code, true
	remote := &network.ResetError{Remote: true, Code: uint64(wireCode(code)), Err: errors.New("stream reset")}
	e.in.buf = nil // what this side has not read is dropped
	e.in.failLocked(cause, remote)
	e.out.failLocked(remote, cause)
	close(e.failed)
	e.finishLocked(cause, remote)
}

func (e *end) finishLocked(cause, peerCause error) {
	if !e.over {
		e.over = true
		e.cancel(cause)
		e.peer.cancel(peerCause)
	}
}

// wireCode is HTTP/2's number (RFC 9113 §7).
func wireCode(c codec.Code) int {
	return [...]int{
		codec.CodeNoError: 0, codec.CodeProtocol: 1, codec.CodeInternal: 2, codec.CodeRefused: 7,
		codec.CodeCancel: 8, codec.CodeConnect: 0xa, codec.CodeExcessiveLoad: 0xb,
	}[c]
}

// ResetCode is the code the stream was reset with, by either end; false if it
// was not.
func (e *end) ResetCode() (codec.Code, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.code, e.wasReset
}

// Buffered is what the peer has sent and this end has not read.
func (e *end) Buffered() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.in.buf)
}

// Close implements codec.Stream.
func (e *end) Close() error {
	e.Reset(codec.CodeCancel, errClosed)
	return nil
}

var errClosed = errors.New("stream closed")

func (e *end) ID() uint64                       { return 1 }
func (e *end) ConnectionID() uint64             { return 1 }
func (e *end) Proto() codec.Proto               { return codec.HTTP2 }
func (e *end) Context() context.Context         { return e.ctx }
func (e *end) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (e *end) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }
func (e *end) LocalAddress() network.Address {
	return network.IPAddress(netip.MustParseAddrPort("127.0.0.1:1"))
}
func (e *end) RemoteAddress() network.Address {
	return network.IPAddress(netip.MustParseAddrPort("127.0.0.1:2"))
}
