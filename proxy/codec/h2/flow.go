package h2

import (
	"os"
	"time"

	"golang.org/x/net/http2"
)

const (
	// connCreditStep is how much arrives before the peer is given it back for
	// the connection, bytes. It is small and fixed, and it is given on arrival:
	// tied to consumption or to the window's size, a few stuck streams would
	// hold back the credit of all the others.
	connCreditStep = 256 << 10
	// contendedBatch is a stream's share of the connection's window while
	// others wait for it, bytes.
	contendedBatch = 64 << 10
)

// sendFlow is what we may still send on the connection (RFC 9113 §5.2), and
// the streams that wait for more. Guarded by conn.mu.
type sendFlow struct {
	window  int
	queue   turnList
	stalled time.Duration // less than a millisecond of it is not counted yet
}

// stalledLocked counts, in milliseconds, that a stream has waited.
func (f *sendFlow) stalledLocked(d time.Duration, ms Counter) {
	f.stalled += d
	whole := f.stalled.Truncate(time.Millisecond)
	f.stalled -= whole
	ms.Add(uint64(whole.Milliseconds()))
}

// recvFlow is what the peer may still send on the connection, and what has
// arrived and is not credited yet. Guarded by conn.mu.
type recvFlow struct {
	window, credit int
	path           pathLength
}

// takeCredit waits until st may send and takes at most want bytes of credit, no
// more than one turn's worth. conn.mu is held, and released while it waits.
func (c *conn) takeCredit(st *stream, want int) (int, error) {
	for {
		if err := st.writeErrLocked(); err != nil {
			return 0, err
		}
		n := min(want, st.sendWindow, maxBatch)
		switch {
		case n <= 0:
			st.waitToSend()
		case c.send.window > 0 && c.send.queue.head == nil:
			n = min(n, c.send.window)
			c.send.window -= n
			st.sendWindow -= n
			st.unstuckLocked()
			return n, nil
		default:
			if n := c.waitForConnection(st, want); n > 0 {
				st.unstuckLocked()
				return n, nil
			}
		}
	}
}

// waitToSend waits for anything that may change what st may send. With a flush
// timeout the wait is bounded, and the stream reset at its end.
func (st *stream) waitToSend() {
	began := time.Now()
	defer func() { st.c.send.stalledLocked(time.Since(began), st.c.stats.TxStall) }()
	d := st.c.cfg.FlushTimeout
	if d == 0 {
		st.writable.Wait()
		return
	}
	if st.flush.at.IsZero() {
		st.flush.set(time.Now().Add(d), st.flushExpired)
	}
	st.writable.Wait()
}

// unstuckLocked ends the flush timeout. Its timer runs on, and finds nothing: to
// stop it for each write would cost more.
func (st *stream) unstuckLocked() { st.flush.at = time.Time{} }

func (st *stream) flushExpired() {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if st.flush.err() != nil {
		st.c.stats.FlushTimeout.Inc()
		st.resetLocked(http2.ErrCodeCancel, errFlushTimeout)
	}
}

// waitForConnection waits in line for the connection's window and returns what
// was granted, 0 if the stream has something else to see to first.
func (c *conn) waitForConnection(st *stream, want int) int {
	st.want, st.granted = want, 0
	st.credit.ready = false
	c.send.queue.push(&st.credit)
	for !st.credit.ready {
		if st.writeErrLocked() != nil {
			c.send.queue.remove(&st.credit)
			return 0
		}
		st.waitToSend()
	}
	n := st.granted
	st.granted = 0
	if n > 0 && st.writeErrLocked() != nil {
		c.returnCredit(st, n)
		return 0
	}
	return n
}

// grantLocked gives the connection's window to those who wait, in order, each a
// share.
func (c *conn) grantLocked() {
	for c.send.window > 0 {
		t := c.send.queue.pop()
		if t == nil {
			return
		}
		share := maxBatch
		if c.send.queue.head != nil {
			share = contendedBatch
		}
		st := t.st
		if n := min(st.want, st.sendWindow, c.send.window, share); n > 0 {
			c.send.window -= n
			st.sendWindow -= n
			st.granted = n
		}
		t.ready = true
		st.writable.Broadcast()
	}
}

// returnCredit gives back credit that was taken and not used.
func (c *conn) returnCredit(st *stream, n int) {
	st.sendWindow += n
	c.send.window += n
	c.grantLocked()
}

// arrivedLocked accounts for n bytes of a DATA frame, padding included, against
// the connection, and credits it.
func (c *conn) arrivedLocked(n int) error {
	if n > c.recv.window {
		return connError(http2.ErrCodeFlowControl, "DATA beyond the connection window")
	}
	c.recv.window -= n
	c.recv.credit += n
	if c.recv.credit < min(connCreditStep, c.cfg.ConnWindow/2) {
		return nil
	}
	c.w.pending = appendWindowUpdate(c.w.pending, 0, c.recv.credit)
	c.recv.window += c.recv.credit
	c.recv.credit = 0
	c.wakeFlusherLocked()
	return c.queueFrameLocked()
}

// consumedLocked credits the stream with n bytes its reader has taken, in steps
// of half its window, and with what that grows by.
func (c *conn) consumedLocked(st *stream, n int) {
	st.recvCredit += n
	if st.recvCredit < c.recvSize(st)/2 || st.recvEnd || st.recvErr != nil || st.gone || c.closed {
		return
	}
	credit := st.recvCredit + c.growLocked(st, st.recvCredit)
	c.w.pending = appendWindowUpdate(c.w.pending, st.id, credit)
	st.recvWindow += credit
	st.recvCredit = 0
	c.wakeFlusherLocked()
	if err := c.queueFrameLocked(); err != nil {
		c.failLocked(err)
	}
}

// readWindowUpdate takes a WINDOW_UPDATE (RFC 9113 §6.9).
func (c *conn) readWindowUpdate(h frameHeader, n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.flood.windowUpdate(c.stats); err != nil {
		return err
	}
	if h.id == 0 {
		if n == 0 {
			return connError(http2.ErrCodeProtocol, "WINDOW_UPDATE of 0")
		}
		if c.send.window+n > maxWindow {
			return connError(http2.ErrCodeFlowControl, "connection window overflows")
		}
		c.send.window += n
		c.grantLocked()
		return nil
	}
	st, err := c.findLocked(h.id)
	switch {
	case err != nil || st == nil:
		return err
	case n == 0:
		return streamError(h.id, http2.ErrCodeProtocol, "WINDOW_UPDATE of 0")
	case st.sendWindow+n > maxWindow:
		return streamError(h.id, http2.ErrCodeFlowControl, "stream window overflows")
	}
	st.sendWindow += n
	st.unstuckLocked()
	st.writable.Broadcast()
	return nil
}

// deadline is a point in time after which waiting fails with
// os.ErrDeadlineExceeded. Its timer is made once and moved; guarded by conn.mu.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

// set moves the deadline; expire runs, without the lock, when it passes.
func (d *deadline) set(t time.Time, expire func()) {
	d.at = t
	switch {
	case t.IsZero():
		d.stop()
	case d.timer == nil:
		d.timer = time.AfterFunc(time.Until(t), expire)
	default:
		d.timer.Reset(time.Until(t))
	}
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (d *deadline) err() error {
	if !d.at.IsZero() && !time.Now().Before(d.at) {
		return os.ErrDeadlineExceeded
	}
	return nil
}
