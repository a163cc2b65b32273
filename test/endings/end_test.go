package endings

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"culvert/test/peer"
)

// limit is within which a flow must be over, however it ends. Its own pauses
// take two seconds; a reset that the link has lost is noticed by a keepalive of
// 15 s, at each of the hops that it concerns.
const limit = 90 * time.Second

// helloSize is what begins a flow: its number.
const helloSize = 8

func hello(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }

// seen is what one end of a flow did and was told.
type seen struct {
	wrote    int64 // of its stream
	ended    bool  // it has ended its direction, after all of its stream
	acted    act   // it ended the flow before its time
	read     int64 // of the peer's stream
	eof      bool  // and then a clean end
	wrong    error // bytes that were not the peer's
	readErr  error
	writeErr error
}

// complete reports that everything went as if nothing were in the way.
func (s *seen) complete(mine, theirs script) bool {
	return s.ended && s.eof && s.wrote == mine.stream.Size && s.read == theirs.stream.Size
}

// clean reports that it was told a clean end. A kernel tells of a reset once: when
// the writer has been told, what reads next is an end.
func (s *seen) clean() bool {
	return s.eof && !errors.Is(s.writeErr, syscall.ECONNRESET) && !errors.Is(s.writeErr, syscall.EPIPE)
}

func (s *seen) hung() bool {
	return errors.Is(s.readErr, os.ErrDeadlineExceeded) || errors.Is(s.writeErr, os.ErrDeadlineExceeded)
}

func (s *seen) String() string {
	if s == nil {
		return "was not there"
	}
	return fmt.Sprintf("wrote %d (%v), ended %v, acted %d, read %d (%v), EOF %v",
		s.wrote, s.writeErr, s.ended, s.acted, s.read, s.readErr, s.eof)
}

// end runs a script on a connection. All but the script is guarded by mu.
type end struct {
	script
	expects peer.Stream
	conn    *net.TCPConn
	over    chan struct{} // closed when the flow is, or this end has acted
	peerEnd chan struct{} // closed when the peer has ended

	mu   sync.Mutex
	seen seen
	done bool // acted, or about to
}

// play runs s on c, which is open, and closes it.
func play(c *net.TCPConn, s, peers script) *seen {
	e := &end{script: s, expects: peers.stream, conn: c, over: make(chan struct{}), peerEnd: make(chan struct{})}
	var both, early sync.WaitGroup
	if s.act != nothing {
		early.Go(e.early) // ends with the flow
	}
	both.Go(e.write) // both end with the connection, or with limit
	both.Go(e.readAll)
	both.Wait()
	e.finish()
	early.Wait()
	_ = c.Close()
	return &e.seen
}

func (e *end) note(fn func(*seen)) { e.mu.Lock(); fn(&e.seen); e.mu.Unlock() }

// finish makes early stop waiting; it is not done any more.
func (e *end) finish() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.done {
		e.done = true
		close(e.over)
	}
}

// early ends the flow before its time.
func (e *end) early() {
	t := time.NewTimer(e.after)
	defer t.Stop()
	select {
	case <-t.C:
	case <-e.over:
		return
	}
	e.mu.Lock()
	if e.done {
		e.mu.Unlock()
		return
	}
	e.done, e.seen.acted = true, e.act
	close(e.over)
	e.mu.Unlock()
	switch e.act {
	case reset:
		_ = e.conn.SetLinger(0)
		_ = e.conn.Close()
	case closes:
		_ = e.conn.Close()
	}
}

// write sends the stream and ends the direction, unless this end has acted.
func (e *end) write() {
	if e.afterPeer {
		select {
		case <-e.peerEnd:
		case <-e.over:
			return
		}
	}
	source, chunk := e.stream.Reader(), make([]byte, e.chunk)
	for {
		n, end := source.Read(chunk)
		if end != nil {
			break
		}
		n, err := e.conn.Write(chunk[:n])
		e.note(func(s *seen) { s.wrote += int64(n) })
		if err != nil {
			e.note(func(s *seen) { s.writeErr = err })
			return
		}
		if !e.rest(e.pause) {
			return
		}
	}
	if e.act == falls {
		<-e.over
		return
	}
	e.note(func(s *seen) { s.ended = s.acted == nothing }) // before: the peer may be told at once
	if err := e.conn.CloseWrite(); err != nil {
		e.note(func(s *seen) { s.writeErr = err })
	}
}

// rest is false when this end has acted meanwhile.
func (e *end) rest(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-e.over:
		return false
	}
}

// readAll reads to the end and compares.
func (e *end) readAll() {
	if e.neverReads {
		<-e.over // its script acts
	}
	verify, buf := e.expects.Verify(), make([]byte, 16<<10)
	for {
		if e.sluggish > 0 {
			_ = e.rest(e.sluggish)
		}
		n, err := e.conn.Read(buf)
		_, wrong := verify.Write(buf[:n])
		e.note(func(s *seen) { s.read = verify.Received(); s.wrong = errors.Join(s.wrong, wrong) })
		switch {
		case wrong != nil:
			peer.Reset(e.conn)
			e.note(func(s *seen) { s.acted = reset })
			e.finish()
			return
		case errors.Is(err, io.EOF):
			e.note(func(s *seen) { s.eof = true })
			close(e.peerEnd)
			return
		case err != nil:
			e.note(func(s *seen) { s.readErr = err })
			if e.afterPeer {
				e.finish() // the writer waits for an end that will not come
			}
			return
		}
	}
}
