package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"culvert/proxy/network"
)

// ErrTruncated is a TLS stream whose transport ended without close_notify:
// whether anything is missing cannot be known (RFC 8446 §6.1).
var ErrTruncated = errors.New("tls: connection ended without close_notify")

// maxPlaintext is how many bytes a record carries: what is not longer is one
// record and needs no gathering. crypto/tls makes one write(2) of each record,
// which costs more than the encryption.
const maxPlaintext = 16 << 10

// wire is the encrypted side of a TLS connection, between crypto/tls and the
// connection below. It reads ahead in large chunks, holding none while it
// waits, and gathers the records of one Write into one.
type wire struct {
	raw    network.Conn
	chunks network.ChunkReader // raw as such; nil if it is none

	// owned by the reading goroutine
	ahead   *network.Chunk // read, not yet handed to crypto/tls
	readErr error          // sticky
	noWait  bool           // Read answers noWaitError instead of waiting

	// guarded by mu
	mu     sync.Mutex
	corked bool
	batch  *network.Chunk // held only while a Write goes on
	size   int            // of the batch to take
}

func newWire(c network.Conn) *wire {
	w := &wire{raw: c}
	w.chunks, _ = network.Beneath[network.ChunkReader](c)
	return w
}

// noWaitError says that a Read would wait. It is a time-out, so that crypto/tls
// takes it for one and goes on later where it stopped.
type noWaitError struct{}

func (noWaitError) Error() string   { return "would wait" }
func (noWaitError) Timeout() bool   { return true }
func (noWaitError) Temporary() bool { return true }

// Read hands out what was read ahead, and reads ahead when there is nothing.
func (w *wire) Read(p []byte) (int, error) {
	for w.ahead == nil {
		switch {
		case w.readErr != nil:
			return 0, w.readErr
		case w.noWait:
			return 0, noWaitError{}
		}
		if err := w.wait(); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.ahead.Data)
	if w.ahead.Data = w.ahead.Data[n:]; len(w.ahead.Data) == 0 {
		w.ahead.Release()
		w.ahead = nil
	}
	return n, nil
}

// wait waits for bytes and reads them ahead. A missed deadline passes; any
// other error stays.
func (w *wire) wait() error {
	if w.readErr != nil {
		return w.readErr
	}
	c, err := w.readChunk()
	switch {
	case err == nil:
		w.ahead = c
	case errors.Is(err, io.EOF):
		w.readErr = &network.ResetError{Remote: true, Err: ErrTruncated}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	default:
		w.readErr = err
	}
	return w.readErr
}

func (w *wire) readChunk() (*network.Chunk, error) {
	if w.chunks != nil {
		return w.chunks.ReadChunk()
	}
	c := network.NewChunk(network.ChunkMedium)
	n, err := w.raw.Read(c.Space())
	if n == 0 {
		c.Release()
		if err == nil {
			err = io.ErrNoProgress
		}
		return nil, err
	}
	c.Data = c.Space()[:n] // an error that came with bytes comes again
	return c, nil
}

// cork gathers what is written until uncork, n bytes or some more.
func (w *wire) cork(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.corked = true
	w.size = min(n+n/16, network.ChunkHuge)
}

// uncork writes what was gathered.
func (w *wire) uncork() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.corked = false
	return w.flushLocked()
}

// Write writes one record, or gathers it.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.corked {
		return w.raw.Write(p)
	}
	if w.batch != nil && len(w.batch.Room()) < len(p) {
		if err := w.flushLocked(); err != nil {
			return 0, err
		}
	}
	if w.batch == nil {
		w.batch = network.NewChunk(w.size)
	}
	if len(w.batch.Room()) < len(p) {
		return w.raw.Write(p)
	}
	w.batch.Data = append(w.batch.Data, p...)
	return len(p), nil
}

func (w *wire) flushLocked() error {
	if w.batch == nil {
		return nil
	}
	_, err := w.raw.Write(w.batch.Data)
	w.batch.Release()
	w.batch = nil
	return err
}

// Close is what crypto/tls does to interrupt a handshake.
func (w *wire) Close() error {
	w.raw.Abort(net.ErrClosed)
	return nil
}

func (w *wire) LocalAddr() net.Addr                { return w.raw.LocalAddr() }
func (w *wire) RemoteAddr() net.Addr               { return w.raw.RemoteAddr() }
func (w *wire) SetDeadline(t time.Time) error      { return w.raw.SetDeadline(t) }
func (w *wire) SetReadDeadline(t time.Time) error  { return w.raw.SetReadDeadline(t) }
func (w *wire) SetWriteDeadline(t time.Time) error { return w.raw.SetWriteDeadline(t) }
