package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"culvert/proxy/network"
)

// Handler is one end of a connection. It owns c: when it returns, c is closed
// or, where the name says so, reset. ctx ends with the server; the connection
// is then closed under the handler.
type Handler func(ctx context.Context, c net.Conn) error

// bufferSize is what one write of a test peer carries, in bytes.
const bufferSize = 128 << 10

// Exchange sends one stream and receives another, both at once, each ended by
// its own half-close, and is an error unless what arrived is exact and ended
// cleanly.
func Exchange(send, receive Stream) Handler {
	return func(_ context.Context, c net.Conn) error {
		defer func() { _ = c.Close() }()
		sent := make(chan error, 1)
		go func() { // ends when the peer has taken everything, or c fails
			err := sendAll(c, send)
			if err != nil {
				reset(c) // else the other direction might wait for ever
			}
			sent <- err
		}()
		err := receiveAll(c, receive)
		if err != nil {
			reset(c)
		}
		return errors.Join(<-sent, err)
	}
}

// SendFirst sends its stream, ends its direction, and only then reads the
// other: for a half-close by this side first, with everything still flowing the
// other way. (The peer must be content to wait: see ReceiveFirst.)
func SendFirst(send, receive Stream) Handler {
	return func(_ context.Context, c net.Conn) error {
		defer func() { _ = c.Close() }()
		if err := sendAll(c, send); err != nil {
			reset(c)
			return err
		}
		return receiveAll(c, receive)
	}
}

// ReceiveFirst reads its stream to the end, and sends the other only after the
// peer has ended its direction: late data, on a connection half closed.
func ReceiveFirst(receive, send Stream) Handler {
	return func(_ context.Context, c net.Conn) error {
		defer func() { _ = c.Close() }()
		if err := receiveAll(c, receive); err != nil {
			reset(c)
			return err
		}
		return sendAll(c, send)
	}
}

// Echo sends back what it receives, and ends its direction when the peer has
// ended the other.
func Echo() Handler {
	return func(_ context.Context, c net.Conn) error {
		defer func() { _ = c.Close() }()
		if _, err := io.CopyBuffer(onlyWriter{c}, onlyReader{c}, make([]byte, bufferSize)); err != nil {
			return fmt.Errorf("echo: %w", err)
		}
		return closeWrite(c)
	}
}

// ResetAfter receives n bytes, whatever they are, and resets the connection. With
// n 0 the reset may reach a client that is still in connect().
func ResetAfter(n int64) Handler {
	return func(_ context.Context, c net.Conn) error {
		_, err := io.CopyN(io.Discard, c, n)
		reset(c)
		return err
	}
}

// SendAndReset sends the stream and resets the connection without waiting for
// any of it to be read.
func SendAndReset(send Stream) Handler {
	return func(_ context.Context, c net.Conn) error {
		_, err := io.CopyBuffer(onlyWriter{c}, send.Reader(), make([]byte, bufferSize))
		reset(c)
		return err
	}
}

// Silent accepts, reads nothing and says nothing until the server ends.
func Silent() Handler {
	return func(ctx context.Context, c net.Conn) error {
		<-ctx.Done()
		return c.Close()
	}
}

// AwaitReset reads until the connection ends and is an error unless it ended by
// a reset. What arrives before is discarded.
func AwaitReset() Handler {
	return func(_ context.Context, c net.Conn) error {
		defer func() { _ = c.Close() }()
		n, err := io.Copy(io.Discard, onlyReader{c})
		if network.IsReset(err) {
			return nil
		}
		return fmt.Errorf("after %d bytes: ended by %w, want a reset", n, orEOF(err))
	}
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// onlyReader and onlyWriter hide ReadFrom and WriteTo, so that the buffer given
// is the buffer used, whatever the connection.
type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }

func sendAll(c net.Conn, s Stream) error {
	n, err := io.CopyBuffer(onlyWriter{c}, s.Reader(), make([]byte, bufferSize))
	if err != nil {
		return fmt.Errorf("send %v: after %d: %w", s, n, err)
	}
	if err := closeWrite(c); err != nil {
		return fmt.Errorf("send %v: end: %w", s, err)
	}
	return nil
}

func receiveAll(c net.Conn, s Stream) error {
	v := s.Verify()
	if _, err := io.CopyBuffer(v, onlyReader{c}, make([]byte, bufferSize)); err != nil {
		return fmt.Errorf("receive: after %d: %w", v.Received(), err)
	}
	if err := v.Complete(); err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	return nil
}

// closeWrite ends the sending direction of what can do that.
func closeWrite(c net.Conn) error {
	h, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("%T cannot end one direction", c)
	}
	return h.CloseWrite()
}

// reset ends the connection with RST, or with what its type has for that.
func reset(c net.Conn) {
	switch c := c.(type) {
	case interface{ Abort(error) }:
		c.Abort(errors.New("reset by the test peer"))
		return
	case interface{ SetLinger(int) error }:
		_ = c.SetLinger(0)
	}
	_ = c.Close()
}

// Reset ends the connection with RST.
func Reset(c net.Conn) { reset(c) }

// Within closes c if ctx ends or d passes before the returned function is
// called: a test that would hang gets an error instead.
func Within(ctx context.Context, d time.Duration, c net.Conn) (done func()) {
	ctx, cancel := context.WithTimeout(ctx, d)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	return func() { stop(); cancel() }
}
