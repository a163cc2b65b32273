package network

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
)

// unansweredFlow counts its Accepts.
type unansweredFlow struct {
	Flow
	info    *StreamInfo
	conn    Conn
	accepts int
}

func (f *unansweredFlow) Info() *StreamInfo { return f.info }
func (f *unansweredFlow) Accept(context.Context) (Conn, error) {
	f.accepts++
	return f.conn, nil
}

func TestPeekAcceptsWithTheFirstByteWanted(t *testing.T) {
	s, peer := socketPair(t)
	f := &unansweredFlow{info: NewStreamInfo(1), conn: s}
	p := NewPeek(f)
	if _, ok := p.Conn(); ok || f.accepts != 0 || f.info.AcceptedEarly {
		t.Fatal("a look at nothing accepted the flow")
	}
	if _, err := peer.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got, err := p.Ahead(t.Context(), 3)
	if err != nil || string(got) != "hello" || f.accepts != 1 || !f.info.AcceptedEarly {
		t.Fatalf("%q, %v; accepted %d times", got, err, f.accepts)
	}
}

func TestPeekGivesBackWhatItRead(t *testing.T) {
	for _, c := range []struct {
		name    string
		discard int
		want    string
		plain   bool // the connection itself comes back
	}{
		{"all", 0, "headerpayload", false},
		{"without a header", 6, "payload", false},
		{"nothing left", 13, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, peer := socketPair(t)
			if _, err := peer.Write([]byte("headerpayload")); err != nil {
				t.Fatal(err)
			}
			p := PeekConn(s, nil)
			if _, err := p.Ahead(t.Context(), 13); err != nil {
				t.Fatal(err)
			}
			p.Discard(c.discard)
			conn, _ := p.Conn()
			if _, ok := conn.(*Socket); ok != c.plain {
				t.Errorf("comes back as %T", conn)
			}
			if _, err := peer.Write([]byte(" and more")); err != nil {
				t.Fatal(err)
			}
			peer.CloseWrite()
			got, err := io.ReadAll(conn)
			if err != nil || string(got) != c.want+" and more" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestPeekedConnUnwrapsWhenDrained(t *testing.T) {
	s, peer := socketPair(t)
	if _, err := peer.Write([]byte("ab")); err != nil {
		t.Fatal(err)
	}
	p := PeekConn(s, nil)
	if _, err := p.Ahead(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	conn, _ := p.Conn()
	if _, ok := Beneath[*Socket](conn); ok {
		t.Error("the socket can be reached around what was read ahead")
	}
	r, ok := Beneath[ChunkReader](conn)
	if !ok {
		t.Fatal("no ChunkReader")
	}
	chunk, err := r.ReadChunk()
	if err != nil || string(chunk.Data) != "ab" {
		t.Fatalf("%v, %v", chunk, err)
	}
	chunk.Release()
	if _, ok := Beneath[*Socket](conn); !ok {
		t.Error("drained, and the socket cannot be reached")
	}
	if _, ok := Beneath[ChunkWriter](conn); !ok {
		t.Error("no ChunkWriter")
	}
}

func TestPeekInterruptedGoesOn(t *testing.T) {
	s, peer := socketPair(t)
	p := PeekConn(s, nil)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go cancel(why) // ends at once
	if got, err := p.Ahead(ctx, 1); !errors.Is(err, why) || len(got) != 0 {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := peer.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Ahead(t.Context(), 4); err != nil || string(got) != "late" {
		t.Errorf("after the interruption: %q, %v", got, err)
	}
}

func TestPeekEnds(t *testing.T) {
	s, peer := socketPair(t)
	if _, err := peer.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	peer.CloseWrite()
	p := PeekConn(s, nil)
	if got, err := p.Ahead(t.Context(), 4); !errors.Is(err, io.EOF) || string(got) != "abc" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := p.Ahead(t.Context(), PeekLimit+1); !errors.Is(err, ErrPeekLimit) {
		t.Errorf("beyond the limit: %v", err)
	}
	conn, _ := p.Conn()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "abc" {
		t.Errorf("given back: %q, %v", got, err)
	}
}

func TestPeekReadsNoMoreThanItsLimit(t *testing.T) {
	s, peer := socketPair(t)
	sent := bytes.Repeat([]byte("x"), PeekLimit+4096)
	go peer.Write(sent) // ends when the test closes the pair
	p := PeekConn(s, nil)
	got, err := p.Ahead(t.Context(), PeekLimit)
	if err != nil || len(got) != PeekLimit {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}
