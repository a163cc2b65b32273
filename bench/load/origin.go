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
	accept verb = 'a' // take all until the end, then say how many bytes
	echo   verb = 'e' // send back whatever comes, until the end
	hello  verb = 'h' // answer with one byte, then end
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
		_, err := send(c, time.Duration(n)*time.Millisecond)
		return err
	case accept:
		got, err := take(c)
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
	default:
		return fmt.Errorf("%q is no order", v)
	}
}

// send writes for so long and says how much.
func send(w io.Writer, d time.Duration) (int64, error) {
	buf := make([]byte, block)
	sent := int64(0)
	for end := time.Now().Add(d); time.Now().Before(end); {
		n, err := w.Write(buf)
		sent += int64(n)
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// take reads to the end and says how much.
func take(r io.Reader) (int64, error) {
	buf := make([]byte, block)
	got := int64(0)
	for {
		n, err := r.Read(buf)
		got += int64(n)
		if err == io.EOF {
			return got, nil
		}
		if err != nil {
			return got, err
		}
	}
}
