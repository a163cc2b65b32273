package internallisteners

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"culvert/proxy/network"
)

// script is what both ends of one direction do, made of the fuzzer's bytes.
type script struct {
	bound  int
	total  int
	ending byte // how the writer ends, see end
	random *rand.Rand
}

func newScript(seed uint64, bound uint16, total uint32, ending byte) script {
	return script{int(bound), int(total % (1 << 20)), ending % 4, rand.New(rand.NewPCG(seed, 1))}
}

// send writes the stream in pieces, by Write and by WriteChunk.
func (s script) send(c network.Conn, stream []byte, r *rand.Rand) error {
	for len(stream) > 0 {
		n := min(len(stream), 1+r.IntN(1<<r.IntN(18)))
		var err error
		if r.IntN(2) == 0 {
			n, err = c.Write(stream[:n])
		} else {
			chunk := network.NewChunk(n)
			n = copy(chunk.Space(), stream[:n])
			offset := r.IntN(n) // chunks need not begin at their buffer's beginning
			chunk.Data = chunk.Space()[offset:n]
			if _, err = c.Write(stream[:offset]); err == nil {
				err = c.(network.ChunkWriter).WriteChunk(chunk)
			} else {
				chunk.Release()
			}
		}
		if err != nil {
			return err
		}
		stream = stream[n:]
	}
	return nil
}

// receive reads in pieces, by Read and by ReadChunk, up to the end.
func receive(c network.Conn, r *rand.Rand, look func()) ([]byte, error) {
	var out []byte
	for {
		look()
		if r.IntN(2) == 0 {
			b := make([]byte, 1+r.IntN(1<<r.IntN(18)))
			n, err := c.Read(b)
			out = append(out, b[:n]...)
			if err != nil {
				return out, err
			}
			continue
		}
		chunk, err := c.(network.ChunkReader).ReadChunk()
		if err != nil {
			return out, err
		}
		out = append(out, chunk.Data...)
		chunk.Release()
	}
}

var errStress = errors.New("ended by the test")

// FuzzPipe: whatever sizes are written and read, the bytes arrive in order, all
// of them before a clean end, those before a reset too, and the bound holds.
func FuzzPipe(f *testing.F) {
	for ending := range byte(4) {
		f.Add(uint64(ending), uint16(1), uint32(10_000), ending)
		f.Add(uint64(ending), uint16(5000), uint32(300_000), ending)
		f.Add(uint64(ending), uint16(65535), uint32(1<<20-1), ending)
		f.Add(uint64(ending), uint16(0), uint32(0), ending)
	}
	f.Fuzz(func(t *testing.T, seed uint64, bound uint16, total uint32, ending byte) {
		s := newScript(seed, bound, total, ending)
		client, server := NewPipe(s.bound, network.Address{}, network.Address{})
		stream := make([]byte, s.total)
		_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(stream)
		sendRandom, receiveRandom := rand.New(rand.NewPCG(seed, 2)), rand.New(rand.NewPCG(seed, 3))
		stopAt := s.random.IntN(s.total + 1)

		sent := make(chan error, 1)
		go func() { // ends with the stream, or when the pipe does
			err := s.send(client, stream, sendRandom)
			switch {
			case err != nil:
			case s.ending == 0:
				err = client.CloseWrite()
			case s.ending == 1:
				client.Abort(errStress)
			case s.ending == 2:
				err = client.Close()
			}
			sent <- err
		}()
		if s.ending == 3 { // the reader goes while the writer writes
			got := make([]byte, stopAt)
			if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, stream[:stopAt]) {
				t.Fatalf("read %d bytes: %v", stopAt, err)
			}
			server.Abort(errStress)
			if err := <-sent; err == nil {
				_, err = client.Write([]byte("x")) // it had written everything by then
				sent <- err
			} else {
				sent <- err
			}
			if err := <-sent; !network.IsReset(err) || !errors.Is(err, errStress) {
				t.Errorf("the writer is told %v", err)
			}
		} else {
			out := client.(*pipeEnd).out
			got, err := receive(server, receiveRandom, func() { checkBound(t, out) })
			if !bytes.Equal(got, stream) {
				t.Errorf("%d bytes arrived of %d, or others", len(got), len(stream))
			}
			if clean := errors.Is(err, io.EOF); clean != (s.ending == 0) || !clean && !network.IsReset(err) {
				t.Errorf("the reader is told %v", err)
			}
			if err := <-sent; err != nil {
				t.Errorf("the writer is told %v", err)
			}
		}
		_ = client.Close()
		_ = server.Close()
		for _, h := range []*half{client.(*pipeEnd).in, client.(*pipeEnd).out} {
			if h.held != 0 || h.room != 0 || len(h.queue) != 0 {
				t.Errorf("closed, and holds %d bytes in %d", h.held, h.room)
			}
		}
	})
}

// checkBound: memory is bounded, not only bytes; one chunk may be over.
func checkBound(t *testing.T, h *half) {
	h.mu.Lock()
	defer h.mu.Unlock()
	room, held := 0, 0
	for _, c := range h.queue {
		room += len(c.Space())
		held += len(c.Data)
	}
	if room != h.room || held != h.held || room > h.size+network.ChunkLarge {
		t.Errorf("%d bytes in %d, counted %d in %d, bound %d", held, room, h.held, h.room, h.size)
	}
}

// A byte at a time must not take a buffer each.
func TestPipeManySmallWrites(t *testing.T) {
	client, server := pair(64 << 10)
	for range 64 << 10 {
		if _, err := client.Write([]byte{'x'}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(client.(*pipeEnd).out.queue); n != 64<<10/network.ChunkSmall {
		t.Errorf("%d buffers for 64 KiB", n)
	}
	_ = client.SetWriteDeadline(time.Unix(1, 0))
	if n, err := client.Write([]byte{'x'}); n != 0 || err == nil {
		t.Errorf("over the bound: %d, %v", n, err)
	}
	b := make([]byte, 64<<10)
	if _, err := io.ReadFull(server, b); err != nil || bytes.Count(b, []byte{'x'}) != len(b) {
		t.Error(err)
	}
}

// Small payloads in large buffers are bounded by what the buffers take.
func TestPipeSmallPayloadsInLargeBuffers(t *testing.T) {
	client, _ := pair(0)
	_ = client.SetWriteDeadline(time.Unix(1, 0)) // nothing waits
	n := 0
	for {
		c := network.NewChunk(network.ChunkLarge)
		c.Data = c.Space()[:1]
		if client.(network.ChunkWriter).WriteChunk(c) != nil {
			break
		}
		n++
	}
	if n != DefaultPipeSize/network.ChunkLarge {
		t.Errorf("%d buffers of 128 KiB wait in a pipe of 1 MiB", n)
	}
}

// What an end's own calls return after it was aborted is the cause, pending
// ones included.
func TestPipeAbortReturnsItsCause(t *testing.T) {
	client, _ := pair(1)
	errs := make(chan error, 2)
	go func() { _, err := client.Read(make([]byte, 1)); errs <- err }()                    // ends with the abort
	go func() { _, err := client.Write([]byte("more than there is room")); errs <- err }() // the same
	client.Abort(errStress)
	for range 2 {
		if err := <-errs; !errors.Is(err, errStress) || network.IsReset(err) {
			t.Errorf("told %v", err)
		}
	}
	if _, err := client.Write([]byte("x")); !errors.Is(err, errStress) {
		t.Errorf("write afterwards: %v", err)
	}
}

func BenchmarkPipe(b *testing.B) {
	client, server := pair(0)
	done := make(chan struct{})
	go func() { // ends with the writer
		defer close(done)
		_, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{server}, make([]byte, network.ChunkLarge))
	}()
	piece := make([]byte, 64<<10)
	b.SetBytes(int64(len(piece)))
	for b.Loop() {
		if _, err := client.Write(piece); err != nil {
			b.Fatal(err)
		}
	}
	_ = client.CloseWrite()
	<-done
}
