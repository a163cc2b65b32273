package network

import (
	"errors"
	"io"
	"sync/atomic"
)

// path is one way of moving bytes from one end to another until its EOF.
// Exactly one of the errors is set on failure.
type path interface {
	move(count func(int)) (readErr, writeErr error)
	name() string
	// held is what waits in it to be written, bytes; anyone may ask.
	held() int
}

// choosePath takes the best way both ends offer, looking through observers.
func choosePath(src, dst Conn) path {
	if p := newSplicePath(src, dst); p != nil {
		return p
	}
	r, canRead := Beneath[ChunkReader](src)
	w, canWrite := Beneath[ChunkWriter](dst)
	switch {
	case canRead && canWrite:
		if p, ok := r.(ChunkPoller); ok {
			return &pollChunkPath{chunkPath{src: r, dst: w}, p}
		}
		return &chunkPath{src: r, dst: w}
	case canRead:
		return &chunkReadPath{src: r, dst: dst}
	}
	return &copyPath{src, dst}
}

// PathName names the way in which Relay would move bytes from src to dst: for
// tests that nobody loses a better one in silence.
func PathName(src, dst Conn) string { return choosePath(src, dst).name() }

// chunkPath moves owned chunks: no copy of ours, no buffer while idle.
type chunkPath struct {
	src ChunkReader
	dst ChunkWriter
	inHand
}

// inHand is how much is taken and not written yet.
type inHand struct{ bytes atomic.Int64 }

func (h *inHand) held() int         { return int(h.bytes.Load()) }
func (h *inHand) take(chunk *Chunk) { h.bytes.Store(int64(len(chunk.Space()))) }
func (h *inHand) given()            { h.bytes.Store(0) }

// write passes a chunk on.
func (p *chunkPath) write(c *Chunk) error {
	p.take(c)
	defer p.given()
	return p.dst.WriteChunk(c)
}

func (p *chunkPath) name() string { return "chunk" }

func (p *chunkPath) move(count func(int)) (readErr, writeErr error) {
	for {
		c, err := p.src.ReadChunk()
		if err != nil {
			return endOfInput(err), nil
		}
		n := len(c.Data)
		if err := p.write(c); err != nil {
			return nil, err
		}
		count(n)
	}
}

// pollChunkPath is a chunkPath whose source need not be waited for.
type pollChunkPath struct {
	chunkPath
	poll ChunkPoller
}

func (p *pollChunkPath) name() string { return "poll" }

func (p *pollChunkPath) moveReady(count func(int), ready func()) (idle bool, readErr, writeErr error) {
	for {
		c, err := p.poll.PollChunk(ready)
		switch {
		case err != nil:
			return false, endOfInput(err), nil
		case c == nil:
			return true, nil, nil
		}
		n := len(c.Data)
		if err := p.write(c); err != nil {
			return false, nil, err
		}
		count(n)
	}
}

// chunkReadPath writes chunks to an end that only knows Write.
type chunkReadPath struct {
	src ChunkReader
	dst io.Writer
	inHand
}

func (p *chunkReadPath) name() string { return "chunk-write" }

func (p *chunkReadPath) move(count func(int)) (readErr, writeErr error) {
	for {
		c, err := p.src.ReadChunk()
		if err != nil {
			return endOfInput(err), nil
		}
		n := len(c.Data)
		p.take(c)
		_, err = p.dst.Write(c.Data)
		c.Release()
		p.given()
		if err != nil {
			return nil, err
		}
		count(n)
	}
}

// copyPath copies through one pooled buffer, held while it waits.
type copyPath struct {
	src io.Reader
	dst io.Writer
}

func (p *copyPath) name() string { return "copy" }
func (p *copyPath) held() int    { return ChunkLarge }

func (p *copyPath) move(count func(int)) (readErr, writeErr error) {
	c := NewChunk(ChunkLarge)
	defer c.Release()
	for {
		n, err := p.src.Read(c.Space())
		if n > 0 {
			if _, werr := p.dst.Write(c.Space()[:n]); werr != nil {
				return nil, werr
			}
			count(n)
		}
		if err != nil {
			return endOfInput(err), nil
		}
	}
}

// endOfInput turns a clean EOF into nil.
func endOfInput(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
