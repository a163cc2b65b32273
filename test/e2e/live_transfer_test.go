package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"culvert/test/peer"
	"culvert/test/program"
)

// liveTransfer is a conversation that goes on until it is told to end: a stream
// to an echo and back, every byte checked.
type liveTransfer struct {
	t        *testing.T
	conn     net.Conn
	stop     chan struct{}
	sent     chan error
	received chan error
	bytes    atomic.Int64 // that came back
}

// startTransfer begins over a connection to an echo, which it owns.
func startTransfer(t *testing.T, conn net.Conn) *liveTransfer {
	l := &liveTransfer{t: t, conn: conn, stop: make(chan struct{}), sent: make(chan error, 1), received: make(chan error, 1)}
	endless := peer.Stream{Seed: 7, Size: 1 << 50}
	var total atomic.Int64
	go func() { // ends with stop, or with conn
		l.sent <- l.send(endless.Reader(), &total)
	}()
	go func() { // ends with the echo's end, or with conn
		l.received <- l.receive(endless.Verify(), &total)
	}()
	t.Cleanup(func() { _ = conn.Close() })
	return l
}

func (l *liveTransfer) send(from io.Reader, total *atomic.Int64) error {
	// 32 MB/s at most, so that tests beside this one get their share.
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for block := make([]byte, 32<<10); ; {
		select {
		case <-l.stop:
			return l.conn.(*net.TCPConn).CloseWrite()
		case <-pace.C:
		}
		if _, err := io.ReadFull(from, block); err != nil {
			return err
		}
		n, err := l.conn.Write(block)
		total.Add(int64(n))
		if err != nil {
			return fmt.Errorf("send: after %d: %w", total.Load(), err)
		}
	}
}

func (l *liveTransfer) receive(v *peer.Verifier, total *atomic.Int64) error {
	for block := make([]byte, 64<<10); ; {
		n, err := l.conn.Read(block)
		if _, verr := v.Write(block[:n]); verr != nil {
			return verr
		}
		l.bytes.Store(v.Received())
		if err == io.EOF && v.Received() == total.Load() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive: after %d of %d: %w", v.Received(), total.Load(), err)
		}
	}
}

// moves waits until more has come back than has now.
func (l *liveTransfer) moves() {
	l.t.Helper()
	before := l.bytes.Load()
	program.Eventually(l.t, exchangeWithin, "the transfer goes on", func() error {
		if l.bytes.Load() < before+1<<20 {
			return fmt.Errorf("%d bytes more", l.bytes.Load()-before)
		}
		return nil
	})
}

// end ends the conversation and says how it went.
func (l *liveTransfer) end() error {
	l.t.Helper()
	close(l.stop)
	return l.over(exchangeWithin)
}

// over waits for the end of a conversation, which somebody else may bring
// about, and says how it went.
func (l *liveTransfer) over(within time.Duration) error {
	l.t.Helper()
	if err := l.conn.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	return errors.Join(<-l.received, <-l.sent)
}
