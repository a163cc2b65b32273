package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// block is how much is written and read at once, bytes.
const block = 256 << 10

// Direction is where bytes of a Bulk go.
type Direction byte

// Down is from the origin to the application, Up the other way.
const (
	Down Direction = 'd'
	Up   Direction = 'u'
)

func (d Direction) String() string { return map[Direction]string{Down: "down", Up: "up"}[d] }

// order is what an application asks the origin for: the direction, and how many
// bytes. It is the first thing on a connection.
const orderBytes = 9

// Origin serves orders until ln is closed or ctx ends: it sends what is asked
// for and ends, or takes what it is told will come and answers with one byte.
// It returns when all its connections have ended.
func Origin(ctx context.Context, ln net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		wg.Go(func() { // ends with the connection or ctx
			defer c.Close()
			defer context.AfterFunc(ctx, func() { _ = c.Close() })()
			_ = serve(c) // the application notices
		})
	}
}

func serve(c net.Conn) error {
	var order [orderBytes]byte
	if _, err := io.ReadFull(c, order[:]); err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint64(order[1:]))
	if Direction(order[0]) == Down {
		return send(c, n)
	}
	if err := take(c, n); err != nil {
		return err
	}
	_, err := c.Write([]byte{0})
	return err
}

// Bulk moves bytes of one direction over several connections at once.
type Bulk struct {
	// Address is where to connect.
	Address   string
	Direction Direction
	Streams   int
	// Bytes of each stream.
	Bytes int64
}

// Run connects, moves the bytes and sees each stream to its end. The time is
// from the first connect to the last end.
func (b Bulk) Run(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	errs := make(chan error, b.Streams)
	for range b.Streams {
		go func() { errs <- b.stream(ctx) }() // ends with its bytes or ctx
	}
	var first error
	for range b.Streams {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return time.Since(start), first
}

func (b Bulk) stream(ctx context.Context) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", b.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	order := binary.BigEndian.AppendUint64([]byte{byte(b.Direction)}, uint64(b.Bytes))
	if _, err := c.Write(order); err != nil {
		return fmt.Errorf("order %v of %d bytes: %w", b.Direction, b.Bytes, err)
	}
	if b.Direction == Down {
		if err := take(c, b.Bytes); err != nil {
			return fmt.Errorf("take %d bytes: %w", b.Bytes, err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			return fmt.Errorf("after %d bytes: %d more, %v: want the end", b.Bytes, n, err)
		}
		return nil
	}
	if err := send(c, b.Bytes); err != nil {
		return fmt.Errorf("send %d bytes: %w", b.Bytes, err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return fmt.Errorf("the origin's receipt of %d bytes: %w", b.Bytes, err)
	}
	return nil
}

func send(w io.Writer, n int64) error {
	buf := make([]byte, block)
	for n > 0 {
		k, err := w.Write(buf[:min(n, block)])
		if err != nil {
			return err
		}
		n -= int64(k)
	}
	return nil
}

func take(r io.Reader, n int64) error {
	buf := make([]byte, block)
	for n > 0 {
		k, err := r.Read(buf[:min(n, block)])
		if err != nil {
			return err
		}
		n -= int64(k)
	}
	return nil
}
