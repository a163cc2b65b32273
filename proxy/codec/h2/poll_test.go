package h2_test

import (
	"io"
	"testing"
	"time"

	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
)

// A poll that finds nothing is called once there is something: bytes, the end, or
// a deadline.
func TestPollChunk(t *testing.T) {
	h, streams := handOver(t)
	cc := pair(t, h2.Config{}, h2.Config{}, h)
	s := open(t, cc)
	far := next(t, streams)
	p := s.(network.ChunkPoller)
	calls := make(chan struct{}, 9)
	ready := func() { calls <- struct{}{} }
	nothing := func() {
		t.Helper()
		if chunk, err := p.PollChunk(ready); chunk != nil || err != nil {
			t.Fatalf("%v, %v, want nothing", chunk, err)
		}
	}
	nothing()
	if _, err := far.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	next(t, calls)
	chunk, err := p.PollChunk(ready)
	if err != nil || string(chunk.Data) != "abc" {
		t.Fatalf("%v, %v", chunk, err)
	}
	chunk.Release()
	nothing()
	_ = s.SetReadDeadline(time.Now())
	next(t, calls)
	if _, err := p.PollChunk(ready); err == nil {
		t.Error("no error after a deadline")
	}
	_ = s.SetReadDeadline(time.Time{})
	nothing()
	if err := far.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for {
		next(t, calls)
		// the deadline's timer may still call for what is over
		chunk, err := p.PollChunk(ready)
		if chunk != nil || err != nil && err != io.EOF {
			t.Fatalf("%v, %v, want EOF", chunk, err)
		}
		if err == io.EOF {
			break
		}
	}
}
