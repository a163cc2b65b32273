package streamtest

import (
	"io"
	"sync"

	"culvert/proxy/codec"
)

// window is how many bytes a direction holds before a Write waits.
const window = 64 << 10

// direction is one way of a stream. Its fields are guarded by the pair's mu.
type direction struct {
	mu   *sync.Mutex
	cond *sync.Cond

	buf      []byte
	ended    bool
	trailers codec.Fields
	readErr  error // what the reader gets behind buf, instead of io.EOF
	writeErr error // what the writer gets
}

func newDirection(mu *sync.Mutex) *direction {
	return &direction{mu: mu, cond: sync.NewCond(mu)}
}

func (d *direction) read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.buf) == 0 {
		switch {
		case d.readErr != nil:
			return 0, d.readErr
		case d.ended:
			return 0, io.EOF
		}
		d.cond.Wait()
	}
	n := copy(p, d.buf)
	d.buf = d.buf[n:]
	d.cond.Broadcast()
	return n, nil
}

func (d *direction) write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for n := 0; ; {
		for len(d.buf) >= window && d.writeErr == nil && !d.ended {
			d.cond.Wait()
		}
		switch {
		case d.writeErr != nil:
			return n, d.writeErr
		case d.ended:
			return n, io.ErrClosedPipe
		case len(p) == n:
			return n, nil
		}
		m := min(window-len(d.buf), len(p)-n)
		d.buf = append(d.buf, p[n:n+m]...)
		n += m
		d.cond.Broadcast()
	}
}

func (d *direction) endLocked(trailers codec.Fields) {
	d.ended, d.trailers = true, trailers
	d.cond.Broadcast()
}

func (d *direction) failLocked(readErr, writeErr error) {
	if d.readErr == nil && !d.ended { // an end that came before the reset stays one
		d.readErr = readErr
	}
	if d.writeErr == nil {
		d.writeErr = writeErr
	}
	d.cond.Broadcast()
}
