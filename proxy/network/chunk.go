package network

import (
	"sync"
	"sync/atomic"
)

// Sizes of pooled chunks, bytes. The small ones keep a stream that holds a few
// bytes from holding much; large is what every busy flow may have. Huge is for
// the few that move as fast as they can: there, fewer and longer calls save
// about a fifth of the CPU seconds per byte.
const (
	ChunkSmall  = 4 << 10
	ChunkMedium = 32 << 10
	ChunkLarge  = 128 << 10
	ChunkHuge   = 512 << 10
)

// maxHuge is how many huge chunks there are at once, so that they cost a
// process 32 MiB at most, however many flows are stuck with one.
const maxHuge = 64

// Chunk is a pooled buffer whose ownership moves: exactly one party owns it and
// either hands it on or calls Release, after which it must not be touched.
type Chunk struct {
	// Data is the filled part of the buffer.
	Data []byte
	buf  []byte
}

// chunkPools are shared by the whole process on purpose: chunks made by one
// connection are released by another. They hold no state but spare memory, and
// how many of the huge ones are out.
var (
	chunkPools = [...]sync.Pool{
		{New: func() any { return &Chunk{buf: make([]byte, ChunkSmall)} }},
		{New: func() any { return &Chunk{buf: make([]byte, ChunkMedium)} }},
		{New: func() any { return &Chunk{buf: make([]byte, ChunkLarge)} }},
		{New: func() any { return &Chunk{buf: make([]byte, ChunkHuge)} }},
	}
	hugeOut atomic.Int32
)

// NewChunk takes a chunk with room for at least size bytes, or for ChunkLarge
// where size is more than that and the huge ones are all out. Data is empty.
func NewChunk(size int) *Chunk {
	class := chunkClass(size)
	if class == classHuge && hugeOut.Add(1) > maxHuge {
		hugeOut.Add(-1)
		class = classHuge - 1
	}
	c := chunkPools[class].Get().(*Chunk)
	c.Data = c.buf[:0]
	return c
}

const classHuge = len(chunkPools) - 1

func chunkClass(size int) int {
	switch {
	case size <= ChunkSmall:
		return 0
	case size <= ChunkMedium:
		return 1
	case size <= ChunkLarge:
		return 2
	}
	return classHuge
}

// Space is the whole buffer, to read into; set Data to the filled part.
func (c *Chunk) Space() []byte { return c.buf }

// Room is what is free behind Data. It is meaningful while Data starts at the
// buffer's beginning or somewhere within it.
func (c *Chunk) Room() []byte { return c.Data[len(c.Data):cap(c.Data)] }

// Fits reports whether n bytes would take a chunk of this size anyway, so that
// a copy of them would save nothing.
func (c *Chunk) Fits(n int) bool { return chunkClass(n) == chunkClass(len(c.buf)) }

// Release gives the chunk back.
func (c *Chunk) Release() {
	c.Data = nil
	class := chunkClass(len(c.buf))
	chunkPools[class].Put(c)
	if class == classHuge {
		hugeOut.Add(-1)
	}
}

// ChunkReader is an end that fills chunks of its own: ReadChunk waits holding
// no buffer and returns at least one byte, or an error and no chunk. The
// caller owns the chunk.
type ChunkReader interface{ ReadChunk() (*Chunk, error) }

// ChunkPoller is a ChunkReader that need not be waited for, so that an idle flow
// has no goroutine for it. PollChunk returns what ReadChunk would, or neither a
// chunk nor an error, and then calls ready, once, when it is worth asking again.
// It may do so before PollChunk returns, on any goroutine and with locks held:
// ready neither waits nor asks.
type ChunkPoller interface {
	ChunkReader
	PollChunk(ready func()) (*Chunk, error)
}

// ChunkWriter is an end that takes chunks: WriteChunk owns c from the call on,
// also on error, and returns when its bytes are handed to the transport.
type ChunkWriter interface{ WriteChunk(c *Chunk) error }
