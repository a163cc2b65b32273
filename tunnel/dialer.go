package tunnel

import (
	"context"
	"errors"
	"fmt"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// HeadFunc makes the request that asks for a flow's tunnel.
type HeadFunc func(*network.StreamInfo) (*codec.Request, error)

// Dialer opens tunnels through one upstream. Its Open is a flow's far half.
type Dialer struct {
	opener codec.Opener
	head   HeadFunc
}

// NewDialer makes a dialer that asks for tunnels with what head returns, over
// streams that o opens.
func NewDialer(o codec.Opener, head func(*network.StreamInfo) (*codec.Request, error)) *Dialer {
	return &Dialer{opener: o, head: head}
}

// unprocessedTries is how often a request is sent again that a gateway says it
// has not looked at (REFUSED_STREAM, a GOAWAY that crossed it): its connection
// is going away, which says nothing of the tunnel.
const unprocessedTries = 3

// Open asks for a tunnel and waits for the answer; ctx bounds the wait, and its
// cause is in the error. One call is one attempt. The Conn is the caller's to
// close; it has the answer's head (Answer) and, after the peer's end, its
// trailers (Trailers). There is never a Handler. Errors: *StatusError for an
// answer that is a no, which has its head too, *GatewayError for none.
func (d *Dialer) Open(ctx context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error) {
	hop, err := info.NextHop()
	if err != nil {
		return nil, nil, fmt.Errorf("tunnel request: %w", err)
	}
	head, err := d.head(info)
	if err != nil {
		return nil, nil, fmt.Errorf("tunnel request: %w", err)
	}
	codec.AddHop(&head.Header, hop)
	head.Repeatable = true // payload waits for the answer
	for range unprocessedTries {
		var s codec.ClientStream
		var res *codec.Response
		if s, res, err = d.ask(ctx, head, info); err == nil {
			return newConn(s, res), nil, nil
		}
		if !errors.Is(err, codec.ErrNotProcessed) || ctx.Err() != nil {
			break
		}
	}
	return nil, nil, err
}

// ask sends the request once.
func (d *Dialer) ask(ctx context.Context, head *codec.Request, info *network.StreamInfo) (codec.ClientStream, *codec.Response, error) {
	s, err := d.opener.OpenStream(ctx, head, info)
	if err != nil {
		return nil, nil, &GatewayError{err}
	}
	info.Mark(network.StepRequested)
	res, err := d.awaitAnswer(ctx, s, info)
	if err != nil {
		s.Reset(codec.CodeCancel, err)
		_ = s.Close() // only releases
		return nil, nil, err
	}
	return s, res, nil
}

// awaitAnswer reads heads up to the final one.
func (d *Dialer) awaitAnswer(ctx context.Context, s codec.ClientStream, info *network.StreamInfo) (*codec.Response, error) {
	for {
		res, err := s.ReadResponse(ctx)
		if err != nil {
			return nil, noAnswer(ctx, s.Proto(), err)
		}
		if res.Informational() {
			continue
		}
		info.Mark(network.StepAnswered)
		if established(s.Proto(), res) {
			return res, nil
		}
		e := newStatusError(res)
		if res.Success() {
			e.Reason = network.ReasonGateway // a yes that is none: the gateway's fault
		}
		info.TransportFailure = e.TransportFailure()
		return nil, e
	}
}

// connectErrorCode is CONNECT_ERROR in HTTP/2 (RFC 9113 §7) and HTTP/3 (RFC
// 9114 §8.1).
func connectErrorCode(p codec.Proto) uint64 {
	if p == codec.HTTP3 {
		return 0x10f
	}
	return 0xa
}

// noAnswer says why there was none: we stopped waiting, the destination's
// connection failed (CONNECT_ERROR instead of a head), or the gateway is gone.
func noAnswer(ctx context.Context, p codec.Proto, err error) error {
	if ctx.Err() != nil {
		cause := context.Cause(ctx)
		return fmt.Errorf("tunnel answer: %w", withTimeout(cause))
	}
	var reset *network.ResetError
	if errors.As(err, &reset) && reset.Remote && reset.Code == connectErrorCode(p) {
		return network.WithReason(network.ReasonConnectionRefused, fmt.Errorf("tunnel answer: %w", err))
	}
	return &GatewayError{fmt.Errorf("tunnel answer: %w", err)}
}

// withTimeout keeps the reason of a cause; one that has none and was set by a
// timer of ours reads as a time-out: the gateway was there and did not answer.
func withTimeout(cause error) error {
	if network.ReasonFor(cause) != network.ReasonUnknown {
		return cause
	}
	return network.WithReason(network.ReasonTimeout, cause)
}
