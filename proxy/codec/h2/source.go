package h2

import (
	"culvert/proxy/network"
)

// source is the bytes of a connection in order, read ahead in pooled chunks of
// up to 512 KiB so that one read brings many frames. It belongs to the reading
// goroutine. Where the connection can (network.ChunkReader) it waits holding no
// buffer.
type source struct {
	conn   network.Conn
	chunks network.ChunkReader // nil: read into chunks of our own
	cur    *network.Chunk      // what is left of the last read; nil before the first
	size   int                 // size of the next chunk of our own
	joined []byte              // a frame that lay across chunks
	before func()              // called before each read that may block
}

func newSource(c network.Conn, before func()) *source {
	s := &source{conn: c, size: network.ChunkSmall, before: before}
	for {
		if r, ok := c.(network.ChunkReader); ok {
			s.chunks = r
			return s
		}
		u, ok := c.(network.Unwrapper)
		if !ok {
			return s
		}
		c = u.Unwrap()
	}
}

// fill waits for bytes; cur is empty before and not after, unless it fails.
func (s *source) fill() error {
	s.release()
	s.before()
	if s.chunks != nil {
		c, err := s.chunks.ReadChunk()
		s.cur = c
		return err
	}
	c := network.NewChunk(s.size)
	n, err := s.conn.Read(c.Space())
	if n == 0 {
		c.Release()
		return err // nil asks again
	}
	switch {
	case n == len(c.Space()):
		s.size = min(len(c.Space())*4, network.ChunkLarge)
	case n <= network.ChunkSmall:
		s.size = network.ChunkSmall
	}
	c.Data = c.Space()[:n]
	s.cur = c
	return nil // an error beside bytes comes again
}

func (s *source) release() {
	if s.cur != nil {
		s.cur.Release()
		s.cur = nil
	}
}

// ready waits until cur has bytes and returns how many.
func (s *source) ready() (int, error) {
	for s.cur == nil || len(s.cur.Data) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	return len(s.cur.Data), nil
}

// take returns the next n bytes, valid until the next call. The caller bounds n.
func (s *source) take(n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	have, err := s.ready()
	if err != nil {
		return nil, err
	}
	if have >= n {
		return s.advance(n), nil
	}
	if cap(s.joined) > network.ChunkMedium {
		s.joined = nil // one long header block must not cost memory for good
	}
	s.joined = s.joined[:0]
	for len(s.joined) < n {
		have, err := s.ready()
		if err != nil {
			return nil, err
		}
		s.joined = append(s.joined, s.advance(min(have, n-len(s.joined)))...)
	}
	return s.joined, nil
}

func (s *source) advance(n int) []byte {
	p := s.cur.Data[:n]
	s.cur.Data = s.cur.Data[n:]
	return p
}

// part returns the next piece of the n bytes of payload that are due: a chunk
// the caller then owns, if all that is left of the current one is payload and a
// copy would take a chunk as large; else a view, valid until the next call.
func (s *source) part(n int) (*network.Chunk, []byte, error) {
	have, err := s.ready()
	if err != nil {
		return nil, nil, err
	}
	if have <= n && s.cur.Fits(have) {
		c := s.cur
		s.cur = nil
		return c, nil, nil
	}
	return nil, s.advance(min(have, n)), nil
}

// discard skips n bytes.
func (s *source) discard(n int) error {
	for n > 0 {
		have, err := s.ready()
		if err != nil {
			return err
		}
		n -= len(s.advance(min(have, n)))
	}
	return nil
}
