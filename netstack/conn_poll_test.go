package netstack

import (
	"errors"
	"testing"
	"time"

	"culvert/proxy/network"
)

// A poll that finds nothing is called once there is something: bytes, the end, or
// an abort. One that finds something calls nobody.
func TestPollChunk(t *testing.T) {
	dst := families()[0].dst
	app, c, _ := pairOf(t, dst)
	p := c.(network.ChunkPoller)
	calls := make(chan struct{}, 9)
	ready := func() { calls <- struct{}{} }
	nothing := func() {
		t.Helper()
		if chunk, err := p.PollChunk(ready); chunk != nil || err != nil {
			t.Fatalf("%v, %v, want nothing", chunk, err)
		}
	}
	called := func() {
		t.Helper()
		select {
		case <-calls:
		case <-time.After(patience):
			t.Fatal("nobody is called")
		}
	}
	nothing()
	if _, err := app.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	called()
	got := ""
	for got != "abc" {
		chunk, err := p.PollChunk(ready)
		switch {
		case err != nil:
			t.Fatal(err)
		case chunk == nil:
			called()
			continue
		}
		got += string(chunk.Data)
		chunk.Release()
	}
	nothing()
	c.Abort(errors.New("over"))
	called()
	if _, err := p.PollChunk(ready); err == nil || err.Error() != "over" {
		t.Errorf("after an abort: %v", err)
	}
	select {
	case <-calls:
		t.Error("called for an error that was returned")
	default:
	}
}
