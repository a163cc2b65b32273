package h2

import (
	"testing"

	"culvert/proxy/network"
)

// What a stream holds is counted by the memory of its chunks.
func TestRecvQueueHeld(t *testing.T) {
	var q recvQueue
	for range 3 {
		c := network.NewChunk(network.ChunkMedium)
		c.Data = c.Space()[:1]
		q.push(c)
	}
	if n := q.held(); n != 3*network.ChunkMedium {
		t.Errorf("three chunks hold %d", n)
	}
	q.pop().Release()
	if n := q.held(); n != 2*network.ChunkMedium {
		t.Errorf("two chunks hold %d", n)
	}
	q.drop()
	if n := q.held(); n != 0 {
		t.Errorf("none hold %d", n)
	}
}
