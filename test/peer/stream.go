package peer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
)

// blockSize is how often the random block of a stream repeats, in bytes; each
// repetition begins with its number, so that no two are alike.
const blockSize = 64 << 10

// Stream is a stream of bytes known to both ends: a byte lost, doubled,
// changed or out of place is found, and said where. Making and checking it
// costs about as much as copying it.
type Stream struct {
	Seed uint64
	Size int64 // bytes
}

func (s Stream) String() string { return fmt.Sprintf("stream %d of %d bytes", s.Seed, s.Size) }

// Reader reads the stream from its beginning.
func (s Stream) Reader() io.Reader { return &generator{block: s.block(), left: s.Size, number: -1} }

// Sum is the stream's SHA-256, for ends that are other programs.
func (s Stream) Sum() [sha256.Size]byte {
	h := sha256.New()
	_, _ = io.Copy(h, s.Reader()) // neither end can fail
	return [sha256.Size]byte(h.Sum(nil))
}

// Verify returns a writer that compares what it is given with the stream.
func (s Stream) Verify() *Verifier {
	return &Verifier{stream: s, want: s.Reader().(*generator)}
}

func (s Stream) block() []byte {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], s.Seed)
	b := make([]byte, blockSize)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return b
}

// generator hands out the stream a piece at a time.
type generator struct {
	block  []byte
	rest   []byte // of the current repetition
	number int64  // of the current repetition
	left   int64
}

// next is the next piece, at most max bytes, valid until the next call.
func (g *generator) next(max int) []byte {
	if len(g.rest) == 0 {
		g.number++
		binary.BigEndian.PutUint64(g.block, uint64(g.number))
		g.rest = g.block
	}
	n := int(min(int64(max), int64(len(g.rest)), g.left))
	piece := g.rest[:n]
	g.rest, g.left = g.rest[n:], g.left-int64(n)
	return piece
}

// Read fills p, so that a copy writes in the size of its buffer.
func (g *generator) Read(p []byte) (int, error) {
	if g.left == 0 {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && g.left > 0 {
		n += copy(p[n:], g.next(len(p)-n))
	}
	return n, nil
}

// Verifier is the receiving end of a Stream.
type Verifier struct {
	stream Stream
	want   *generator
}

// Write fails at the first byte that is not the stream's.
func (v *Verifier) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		at := v.Received()
		want := v.want.next(len(p) - done)
		got := p[done:]
		if len(want) == 0 {
			return done, fmt.Errorf("%v: %d more bytes after its end", v.stream, len(got))
		}
		got = got[:len(want)]
		if !bytes.Equal(got, want) {
			i := 0
			for got[i] == want[i] {
				i++
			}
			return done + i, fmt.Errorf("%v: byte %d is %#02x, want %#02x", v.stream, at+int64(i), got[i], want[i])
		}
		done += len(want)
	}
	return done, nil
}

// Received is how many bytes were right so far.
func (v *Verifier) Received() int64 { return v.stream.Size - v.want.left }

// Complete is nil if the whole stream has arrived.
func (v *Verifier) Complete() error {
	if v.want.left > 0 {
		return fmt.Errorf("%v: ended after %d", v.stream, v.Received())
	}
	return nil
}
