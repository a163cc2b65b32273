package network

import "testing"

// Huge chunks are few: whoever finds none gets a large one, and what is given
// back is there for the next.
func TestHugeChunksAreFew(t *testing.T) {
	var held []*Chunk
	for range maxHuge + 1 {
		held = append(held, NewChunk(ChunkHuge))
	}
	last := held[len(held)-1]
	if n := len(last.Space()); n != ChunkLarge {
		t.Errorf("the one too many has %d bytes, want %d", n, ChunkLarge)
	}
	last.Release()
	if n := len(held[0].Space()); n != ChunkHuge {
		t.Errorf("the first has %d bytes, want %d", n, ChunkHuge)
	}
	held[0].Release()
	held[0] = NewChunk(ChunkHuge)
	if n := len(held[0].Space()); n != ChunkHuge {
		t.Errorf("one that follows has %d bytes, want %d", n, ChunkHuge)
	}
	for _, c := range held[:maxHuge] {
		c.Release()
	}
}

func TestChunkFits(t *testing.T) {
	c := NewChunk(ChunkLarge)
	defer c.Release()
	for n, want := range map[int]bool{1: false, ChunkMedium: false, ChunkMedium + 1: true, ChunkLarge: true} {
		if c.Fits(n) != want {
			t.Errorf("%d bytes in a large chunk: %v", n, !want)
		}
	}
}
