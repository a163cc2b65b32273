package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// block is how much is written and read at once, bytes.
const block = 256 << 10

// verb is what an application wants of the origin. With a number it is the
// first thing on each connection.
type verb byte

const (
	give   verb = 'g' // send for so many milliseconds, then end
	accept verb = 'a' // take blocks until the last one, then say how many bytes
	echo   verb = 'e' // send back whatever comes, until the end
	hello  verb = 'h' // answer with one byte, then end
	answer verb = 'n' // answer with so many bytes, then end
	get    verb = 'G' // of a request in HTTP/1.1: GET
)

const orderBytes = 9

func order(c net.Conn, v verb, n uint64) error {
	_, err := c.Write(binary.BigEndian.AppendUint64([]byte{byte(v)}, n))
	return err
}

// Origin serves orders until ctx ends. It returns when all its connections have
// ended. What goes wrong on a connection its application notices.
func Origin(ctx context.Context, ln net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	for {
		c, err := ln.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			continue // the peer has gone, or descriptors come back with the others
		}
		wg.Go(func() { // ends with the connection or ctx
			defer c.Close()
			defer context.AfterFunc(ctx, func() { _ = c.Close() })()
			_ = obey(c)
		})
	}
}

func obey(c net.Conn) error {
	var o [orderBytes]byte
	if _, err := io.ReadFull(c, o[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint64(o[1:])
	switch v := verb(o[0]); v {
	case give:
		_, err := sendFor(c, time.Duration(n)*time.Millisecond)
		return err
	case accept:
		got, err := takeBlocks(c)
		if err != nil {
			return err
		}
		_, err = c.Write(binary.BigEndian.AppendUint64(nil, uint64(got)))
		return err
	case echo:
		_, err := io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 4<<10))
		return err
	case hello:
		_, err := c.Write([]byte{byte(v)})
		return err
	case answer:
		_, err := c.Write(make([]byte, min(n, block)))
		return err
	case get:
		return servePages(c, o[:])
	default:
		return fmt.Errorf("%q is no order", v)
	}
}

// more and last begin a block. That there are blocks saves the end of one
// direction before the other's, which not everything that is measured passes on.
const (
	more byte = iota
	last
)

// sendFor writes for so long, ends with a last block, and says how much.
func sendFor(w io.Writer, d time.Duration) (int64, error) {
	buf := make([]byte, block)
	sent := int64(0)
	for end := time.Now().Add(d); buf[0] != last; {
		if !time.Now().Before(end) {
			buf[0] = last
		}
		n, err := w.Write(buf)
		sent += int64(n)
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// takeBlocks reads to the end of the last block and says how much.
func takeBlocks(r io.Reader) (int64, error) {
	buf := make([]byte, block)
	got := int64(0)
	for {
		n, err := io.ReadFull(r, buf)
		got += int64(n)
		if err != nil {
			return got, err
		}
		if buf[0] == last {
			return got, nil
		}
	}
}
