package tunnel

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// chunkStream also moves chunks.
type chunkStream struct {
	*fakeStream
	unsent int
}

func (s *chunkStream) ReadChunk() (*network.Chunk, error) { return nil, io.EOF }

func (s *chunkStream) WriteChunk(c *network.Chunk) error {
	defer c.Release()
	_, err := s.Write(c.Data)
	return err
}

func (s *chunkStream) Unsent() int { return s.unsent }

func TestConnVerbs(t *testing.T) {
	s := newFakeStream(codec.HTTP2)
	s.input = strings.NewReader("answer")
	c := NewConn(s)
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "answer" {
		t.Fatalf("read %q, %v", got, err)
	}
	if err := c.CloseWrite(); err != nil || !s.ended {
		t.Fatalf("CloseWrite: %v, ended %v", err, s.ended)
	}
	if len(s.reset) != 0 {
		t.Errorf("half-close reset the stream: %v", s.reset)
	}
	if err := c.SetDeadline(time.Now()); err != nil {
		t.Error(err)
	}
	if c.RemoteAddr().String() != "gateway:2" || c.LocalAddr().String() != "here:1" {
		t.Errorf("addresses %v, %v", c.LocalAddr(), c.RemoteAddr())
	}
}

// RFC 9113 §8.5: a reset connection is CONNECT_ERROR on the stream.
func TestConnAbort(t *testing.T) {
	s := newFakeStream(codec.HTTP2)
	cause := errors.New("RST from the application")
	NewConn(s).Abort(cause)
	if !slices.Equal(s.reset, []codec.Code{codec.CodeConnect}) || !errors.Is(s.cause, cause) || !s.closed {
		t.Errorf("resets %v, cause %v, closed %v", s.reset, s.cause, s.closed)
	}
}

func TestConnChunks(t *testing.T) {
	plain := NewConn(newFakeStream(codec.HTTP2))
	if _, ok := plain.(network.ChunkReader); ok {
		t.Error("a stream without chunks became a Conn with chunks")
	}
	s := &chunkStream{fakeStream: newFakeStream(codec.HTTP2), unsent: 3}
	c := NewConn(s)
	w, ok := c.(network.ChunkWriter)
	if !ok {
		t.Fatal("chunks are lost")
	}
	chunk := network.NewChunk(8)
	chunk.Data = append(chunk.Data, "owned"...)
	if err := w.WriteChunk(chunk); err != nil || string(s.written) != "owned" {
		t.Errorf("wrote %q, %v", s.written, err)
	}
	if q, ok := c.(network.SendQueue); !ok || q.Unsent() != 3 {
		t.Error("what is unsent is lost")
	}
}
