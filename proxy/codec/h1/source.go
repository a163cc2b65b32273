package h1

import (
	"errors"
	"os"
	"sync"

	"culvert/proxy/network"
)

// source is the input of a connection, read ahead in pooled chunks. One reader
// takes from it; while it has nothing, either the reader or a watcher waits for
// the connection, never both. Where the connection can (network.ChunkReader)
// waiting holds no buffer.
type source struct {
	// immutable
	conn   network.Conn
	chunks network.ChunkReader // nil: read into chunks of our own

	mu      sync.Mutex
	turn    sync.Cond
	filling bool               // somebody waits for the connection
	held    bool               // nobody may begin to
	cur     *network.Chunk     // what is unread, at least one byte; else nil
	err     error              // sticky; what is unread comes first
	size    int                // of the next chunk of our own
	wire    *network.WireMeter // of whose message is being read; nil: nobody's
}

func (s *source) init(c network.Conn) {
	s.conn, s.size = c, network.ChunkSmall
	s.chunks, _ = network.Beneath[network.ChunkReader](c)
	s.turn.L = &s.mu
}

// view waits until there are bytes and returns them, valid until the next
// advance. Only the reader calls it.
func (s *source) view() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.cur != nil:
			return s.cur.Data, nil
		case s.err != nil:
			return nil, s.err
		case s.filling:
			s.turn.Wait()
		default:
			if err := s.fillLocked(); err != nil {
				return nil, err
			}
		}
	}
}

// watch waits for bytes on nobody's behalf: nil once there are some, or once it
// may not wait any more. Errors are those of view.
func (s *source) watch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.cur == nil && !s.held {
		switch {
		case s.err != nil:
			return s.err
		case s.filling:
			s.turn.Wait()
		default:
			if err := s.fillLocked(); err != nil {
				return err
			}
		}
	}
	return nil
}

// hold keeps watchers from waiting, for good, and returns when none does. The
// caller has woken whoever reads.
func (s *source) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
	for s.filling {
		s.turn.Wait()
	}
}

// fillLocked reads once. It does not hold mu meanwhile. A missed deadline is
// returned and passes; any other error stays.
func (s *source) fillLocked() error {
	s.filling = true
	s.mu.Unlock()
	c, err := s.read()
	s.mu.Lock()
	s.filling = false
	s.cur = c
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.err = readError(err)
		err = s.err
	}
	s.turn.Broadcast()
	return err
}

// read is the next chunk; nil without an error asks again.
func (s *source) read() (*network.Chunk, error) {
	if s.chunks != nil {
		return s.chunks.ReadChunk()
	}
	c := network.NewChunk(s.size)
	n, err := s.conn.Read(c.Space())
	if n == 0 {
		c.Release()
		return nil, err
	}
	switch {
	case n == len(c.Space()):
		s.size = min(n*4, network.ChunkLarge)
	case n <= network.ChunkSmall:
		s.size = network.ChunkSmall
	}
	c.Data = c.Space()[:n]
	return c, nil // an error beside bytes comes again
}

// charge has m count what is taken from here on; nil counts nothing.
func (s *source) charge(m *network.WireMeter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wire = m
}

// tookLocked counts n bytes that the reader has taken.
func (s *source) tookLocked(n int) {
	if s.wire != nil {
		s.wire.Received(n)
	}
}

// tookHeader tells of n of the bytes taken last that they were of a head or
// trailers.
func (s *source) tookHeader(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wire != nil {
		s.wire.HeaderReceived(n)
	}
}

// advance takes n bytes of the view.
func (s *source) advance(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur == nil || n == 0 {
		return
	}
	s.tookLocked(n)
	s.cur.Data = s.cur.Data[n:]
	if len(s.cur.Data) == 0 {
		s.cur.Release()
		s.cur = nil
	}
}

// take takes up to n bytes of the view as a chunk: the one they are in, if they
// are all of it and fill half of it or if there is only little room to waste,
// else a copy.
func (s *source) take(n int) *network.Chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cur
	if n >= len(c.Data) && (len(c.Data) >= len(c.Space())/2 || len(c.Space()) <= network.ChunkSmall) {
		s.cur = nil
		s.tookLocked(len(c.Data))
		return c
	}
	n = min(n, len(c.Data), network.ChunkLarge)
	s.tookLocked(n)
	out := network.NewChunk(n)
	out.Data = append(out.Data, c.Data[:n]...)
	if c.Data = c.Data[n:]; len(c.Data) == 0 {
		c.Release()
		s.cur = nil
	}
	return out
}

// buffered is how many bytes are there unread.
func (s *source) buffered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur == nil {
		return 0
	}
	return len(s.cur.Data)
}

// ended is why the input is over; nil if it is not, or not yet read to its end.
func (s *source) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur != nil {
		return nil
	}
	return s.err
}
