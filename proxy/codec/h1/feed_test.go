package h1_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/network"
)

// feedConn is a connection whose input is known beforehand, in pieces as they
// are read, with its end behind them. It keeps what is written.
type feedConn struct {
	pieces []string
	end    error // nil: io.EOF

	mu      sync.Mutex
	out     strings.Builder
	ended   bool // CloseWrite
	aborted error
}

func feed(pieces ...string) *feedConn { return &feedConn{pieces: pieces} }

// drip is a feed of single bytes.
func drip(text string) *feedConn { return feed(strings.Split(text, "")...) }

func (c *feedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted != nil {
		return 0, c.aborted
	}
	if len(c.pieces) == 0 {
		if c.end != nil {
			return 0, c.end
		}
		return 0, io.EOF
	}
	n := copy(p, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; c.pieces[0] == "" {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

func (c *feedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted != nil {
		return 0, c.aborted
	}
	return c.out.Write(p)
}

func (c *feedConn) written() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String()
}

func (c *feedConn) CloseWrite() error { c.ended = true; return nil }
func (c *feedConn) Close() error      { return nil }

func (c *feedConn) Abort(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted == nil {
		c.aborted = errors.Join(net.ErrClosed, cause)
	}
}

func (c *feedConn) SetDeadline(time.Time) error      { return nil }
func (c *feedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *feedConn) SetWriteDeadline(time.Time) error { return nil }
func (c *feedConn) LocalAddr() net.Addr              { return network.InternalAddress("here", "") }
func (c *feedConn) RemoteAddr() net.Addr             { return network.InternalAddress("there", "") }

// seen is a request as a handler saw it.
type seen struct {
	*codec.Request
	Body     string
	Trailers codec.Fields
	Err      error
}

// collect serves c and returns the requests that came, each answered 200 (a
// tunnel 200 or 101), and why the connection ended.
func collect(t testing.TB, c *feedConn, cfg h1.Config) ([]seen, error) {
	t.Helper()
	var all []seen
	err := h1.ServeConn(context.Background(), c, cfg, func(_ context.Context, s codec.ServerStream) {
		x := seen{Request: s.Request()}
		if x.AsksTunnel() {
			status := 200
			if x.Protocol != "" {
				status = 101
			}
			if err := s.WriteResponse(&codec.Response{Status: status}); err != nil {
				t.Errorf("WriteResponse: %v", err)
			}
		}
		body, err := io.ReadAll(s)
		x.Body, x.Err, x.Trailers = string(body), err, s.Trailers()
		all = append(all, x)
		switch {
		case err != nil:
		case x.AsksTunnel():
			_ = s.CloseWrite()
		default:
			_ = s.WriteResponse(&codec.Response{Status: 200, EndStream: true})
		}
		_ = s.Close()
	})
	return all, err
}

// stall is a piece at which a stallConn's deadline passes.
const stall = "\x00stall"

// stallConn is a feed on which reads may time out.
type stallConn struct{ *feedConn }

func (c *stallConn) Read(p []byte) (int, error) {
	if len(c.pieces) > 0 && c.pieces[0] == stall {
		c.pieces = c.pieces[1:]
		return 0, os.ErrDeadlineExceeded
	}
	return c.feedConn.Read(p)
}
