package h2

import "culvert/proxy/network"

// recvQueue is what a stream has received and its reader has not taken yet, in
// pooled chunks. What it holds is bounded by the stream's window: a chunk is at
// least a quarter full or has others' worth of tiny frames packed behind it, so
// that these do not pin large buffers. Guarded by conn.mu.
type recvQueue struct {
	chunks []*network.Chunk
	first  int
}

func (q *recvQueue) empty() bool { return q.first == len(q.chunks) }

func (q *recvQueue) push(c *network.Chunk) {
	switch {
	case q.empty():
		q.chunks, q.first = q.chunks[:0], 0
	case len(q.chunks) == cap(q.chunks) && q.first > 0:
		n := copy(q.chunks, q.chunks[q.first:])
		clear(q.chunks[n:])
		q.chunks, q.first = q.chunks[:n], 0
	}
	q.chunks = append(q.chunks, c)
}

func (q *recvQueue) pop() *network.Chunk {
	c := q.chunks[q.first]
	q.chunks[q.first] = nil
	q.first++
	return c
}

// read copies what is there into p and releases what is used up.
func (q *recvQueue) read(p []byte) int {
	n := 0
	for n < len(p) && !q.empty() {
		c := q.chunks[q.first]
		k := copy(p[n:], c.Data)
		n += k
		c.Data = c.Data[k:]
		if len(c.Data) == 0 {
			q.pop().Release()
		}
	}
	return n
}

// maxTailCopy is the most that is copied behind the last chunk, under the
// lock; bytes.
const maxTailCopy = 16 << 10

// appendTail copies p behind the last chunk, if it has the room.
func (q *recvQueue) appendTail(p []byte) bool {
	if q.empty() || len(p) > maxTailCopy {
		return false
	}
	tail := q.chunks[len(q.chunks)-1]
	if len(tail.Room()) < len(p) {
		return false
	}
	tail.Data = append(tail.Data, p...)
	return true
}

// nextSize is the size of the chunk to take for n bytes: what is there, and a
// step larger than the last chunk if the reader is behind by whole chunks.
func (q *recvQueue) nextSize(n int) int {
	if q.empty() {
		return n
	}
	return min(max(n, 4*len(q.chunks[len(q.chunks)-1].Space())), network.ChunkLarge)
}

// held is what it takes of memory, bytes.
func (q *recvQueue) held() int {
	n := 0
	for _, c := range q.chunks[q.first:] {
		n += len(c.Space())
	}
	return n
}

// drop releases everything.
func (q *recvQueue) drop() {
	for !q.empty() {
		q.pop().Release()
	}
	q.chunks, q.first = nil, 0
}
