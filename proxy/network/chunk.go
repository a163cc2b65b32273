package network

import "sync"

// Sizes of pooled chunks, bytes. The large one is what the measurements ask of
// buffers toward TLS and HTTP/2 (128 KiB); the small ones keep a stream that
// holds a few bytes from holding much.
const (
	ChunkSmall  = 4 << 10
	ChunkMedium = 32 << 10
	ChunkLarge  = 128 << 10
)

// Chunk is a pooled buffer whose ownership moves: exactly one party owns it and
// either hands it on or calls Release, after which it must not be touched.
type Chunk struct {
	// Data is the filled part of the buffer.
	Data []byte
	buf  []byte
}

// chunkPools are shared by the whole process on purpose: chunks made by one
// connection are released by another. They hold no state but spare memory.
var chunkPools = [...]sync.Pool{
	{New: func() any { return &Chunk{buf: make([]byte, ChunkSmall)} }},
	{New: func() any { return &Chunk{buf: make([]byte, ChunkMedium)} }},
	{New: func() any { return &Chunk{buf: make([]byte, ChunkLarge)} }},
}

// NewChunk takes a chunk with room for at least size bytes, at most
// ChunkLarge. Data is empty.
func NewChunk(size int) *Chunk {
	c := chunkPools[chunkClass(size)].Get().(*Chunk)
	c.Data = c.buf[:0]
	return c
}

func chunkClass(size int) int {
	switch {
	case size <= ChunkSmall:
		return 0
	case size <= ChunkMedium:
		return 1
	}
	return 2
}

// Space is the whole buffer, to read into; set Data to the filled part.
func (c *Chunk) Space() []byte { return c.buf }

// Room is what is free behind Data. It is meaningful while Data starts at the
// buffer's beginning or somewhere within it.
func (c *Chunk) Room() []byte { return c.Data[len(c.Data):cap(c.Data)] }

// Release gives the chunk back.
func (c *Chunk) Release() {
	c.Data = nil
	chunkPools[chunkClass(len(c.buf))].Put(c)
}

// ChunkReader is an end that fills chunks of its own: ReadChunk waits holding
// no buffer and returns at least one byte, or an error and no chunk. The
// caller owns the chunk.
type ChunkReader interface{ ReadChunk() (*Chunk, error) }

// ChunkWriter is an end that takes chunks: WriteChunk owns c from the call on,
// also on error, and returns when its bytes are handed to the transport.
type ChunkWriter interface{ WriteChunk(c *Chunk) error }

// SendQueue is an end that knows how many bytes it has not seen acknowledged
// by its peer. Relay waits for it before it passes a reset on, so that what was
// sent before a reset arrives before it.
type SendQueue interface{ Unsent() int }
