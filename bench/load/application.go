package load

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// application is one of a load.
type application struct {
	dial     Dial
	until    time.Time
	duration time.Duration
	size     int

	bytes            int64
	turns, connected []time.Duration
}

// connect dials, notes how long that took, and gives the connection as long as
// it may need.
func (a *application) connect(ctx context.Context) (net.Conn, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := a.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	a.connected = append(a.connected, time.Since(start))
	return c, c.SetDeadline(time.Now().Add(a.duration + patience))
}

// with does something on a connection of its own.
func (a *application) with(ctx context.Context, v verb, n uint64, do func(net.Conn) error) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if err := order(c, v, n); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	return do(c)
}

func (a *application) down(ctx context.Context) error {
	return a.with(ctx, give, uint64(a.duration.Milliseconds()), func(c net.Conn) (err error) {
		if a.bytes, err = takeBlocks(c); err != nil {
			return fmt.Errorf("take, after %d bytes: %w", a.bytes, err)
		}
		return nil
	})
}

func (a *application) up(ctx context.Context) error {
	return a.with(ctx, accept, 0, func(c net.Conn) error {
		sent, err := sendFor(c, a.duration)
		if err != nil {
			return fmt.Errorf("send, after %d bytes: %w", sent, err)
		}
		var receipt [8]byte
		if _, err := io.ReadFull(c, receipt[:]); err != nil {
			return fmt.Errorf("receipt of %d bytes: %w", sent, err)
		}
		if a.bytes = int64(binary.BigEndian.Uint64(receipt[:])); a.bytes != sent {
			return fmt.Errorf("%d of %d bytes have arrived", a.bytes, sent)
		}
		return nil
	})
}

func (a *application) connects(ctx context.Context) error {
	for len(a.turns) == 0 || time.Now().Before(a.until) {
		start := time.Now()
		err := a.with(ctx, hello, 0, func(c net.Conn) error {
			answer, err := io.ReadAll(c)
			if err != nil {
				return fmt.Errorf("answer: %w", err)
			}
			if len(answer) != 1 {
				return fmt.Errorf("answered %d bytes, want 1", len(answer))
			}
			return nil
		})
		if err != nil {
			return err
		}
		a.turns = append(a.turns, time.Since(start))
	}
	return nil
}

func (a *application) pingPong(ctx context.Context) error {
	return a.with(ctx, echo, 0, func(c net.Conn) error {
		ping, pong := bytes.Repeat([]byte("x"), 64), make([]byte, 64)
		for len(a.turns) == 0 || time.Now().Before(a.until) {
			start := time.Now()
			if _, err := c.Write(ping); err != nil {
				return fmt.Errorf("ping: %w", err)
			}
			if _, err := io.ReadFull(c, pong); err != nil {
				return fmt.Errorf("pong: %w", err)
			}
			if !bytes.Equal(ping, pong) {
				return fmt.Errorf("pong is %q", pong)
			}
			a.turns = append(a.turns, time.Since(start))
		}
		return nil
	})
}

// once is a connection of a burst.
func (a *application) once(ctx context.Context) error {
	start := time.Now()
	return a.with(ctx, answer, uint64(a.size), func(c net.Conn) (err error) {
		if a.bytes, err = io.Copy(io.Discard, c); err != nil {
			return fmt.Errorf("answer, after %d bytes: %w", a.bytes, err)
		}
		if a.bytes != int64(a.size) {
			return fmt.Errorf("answered %d bytes, want %d", a.bytes, a.size)
		}
		a.turns = append(a.turns, time.Since(start))
		return nil
	})
}
