package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"
)

// Script is what a Gateway does with one request. It runs on a goroutine of its
// own; when it returns the stream is left as it is, open if it was not ended.
type Script func(*Request)

// Gateway is an HTTP/2 server made of bare frames, or an HTTP/1.1 server made of
// bare bytes, which does to each request what its script says, sensible or not.
// It is otherwise a correct peer: it answers PING and SETTINGS, keeps to the
// client's windows, and credits what it receives when the script has taken it.
type Gateway struct {
	srv *Server
}

// NewGateway serves script on ln until the test ends. With a TLS configuration
// it speaks HTTP/2 over TLS (set NextProtos to h2), with nil by prior
// knowledge.
func NewGateway(t testing.TB, ln net.Listener, conf *tls.Config, script Script) *Gateway {
	return &Gateway{srv: Serve(t, ln, func(ctx context.Context, c net.Conn) error {
		if conf != nil {
			c = tls.Server(c, conf)
		}
		return serveGateway(ctx, c, script)
	})}
}

// NewHTTP1Gateway is NewGateway for HTTP/1.1 (set NextProtos to http/1.1). A
// connection carries one request at a time; what follows a CONNECT is payload,
// whatever the answer.
func NewHTTP1Gateway(t testing.TB, ln net.Listener, conf *tls.Config, script Script) *Gateway {
	return &Gateway{srv: Serve(t, ln, func(ctx context.Context, c net.Conn) error {
		if conf != nil {
			c = tls.Server(truncation{c}, conf)
		}
		return serveHTTP1Gateway(ctx, c, script)
	})}
}

// Addr is where the gateway listens.
func (g *Gateway) Addr() string { return g.srv.Addr() }

// Connections is how many connections have been accepted.
func (g *Gateway) Connections() int64 { return g.srv.Accepted() }

// Close ends the gateway as a killed process would: connections are closed.
func (g *Gateway) Close() { g.srv.Close() }

// Answer answers every request with a final status, and ends the stream if it
// is not 2xx; a 2xx tunnel stays open and what arrives on it is discarded.
// fields are names and values by turns.
func Answer(status int, fields ...string) Script {
	return func(r *Request) {
		tunnel := status/100 == 2
		if r.Respond(status, !tunnel, fields...) != nil {
			return
		}
		for tunnel {
			if _, err := r.Receive(); err != nil {
				return
			}
		}
	}
}

// AnswerAndEnd answers with a status and ends the response in the same frame,
// also a 200.
func AnswerAndEnd(status int, fields ...string) Script {
	return func(r *Request) { _ = r.Respond(status, true, fields...) }
}

// NeverAnswer leaves every request without an answer.
func NeverAnswer() Script { return func(*Request) {} }

// AnswerAfter waits before it does what next does.
func AnswerAfter(d time.Duration, next Script) Script {
	return func(r *Request) {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			next(r)
		case <-r.Done():
		}
	}
}

// ResetStream resets every stream with an error code, unanswered.
func ResetStream(code uint32) Script { return func(r *Request) { _ = r.Reset(code) } }

// EchoTunnel answers 200 and sends back what arrives, to the end.
func EchoTunnel() Script {
	return func(r *Request) {
		if r.Respond(200, false) != nil {
			return
		}
		for {
			b, err := r.Receive()
			if err != nil {
				if errors.Is(err, ErrEnded) {
					_ = r.Send(nil, true)
				}
				return
			}
			if r.Send(b, false) != nil {
				return
			}
		}
	}
}

// InTurn does what the first script says to the first request on the gateway,
// and so on; the last one is for all that follow. Requests that are open at the
// same time take their turns in any order.
func InTurn(scripts ...Script) Script {
	turn := make(chan int, 1)
	turn <- 0
	return func(r *Request) {
		n := <-turn
		turn <- n + 1
		scripts[min(n, len(scripts)-1)](r)
	}
}
