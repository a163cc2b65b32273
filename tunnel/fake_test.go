package tunnel

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// fakeStream answers with the heads it is given and records what is done to it.
type fakeStream struct {
	proto codec.Proto
	heads chan *codec.Response
	// lost is the error of ReadResponse once the heads are used up; nil: it waits.
	lost error

	mu      sync.Mutex
	written []byte
	reset   []codec.Code
	cause   error
	ended   bool
	closed  bool
	input   io.Reader
}

func newFakeStream(proto codec.Proto, heads ...*codec.Response) *fakeStream {
	s := &fakeStream{proto: proto, heads: make(chan *codec.Response, len(heads)+1)}
	for _, h := range heads {
		s.heads <- h
	}
	return s
}

func (s *fakeStream) ReadResponse(ctx context.Context) (*codec.Response, error) {
	select {
	case h := <-s.heads:
		return h, nil
	default:
	}
	if s.lost != nil {
		return nil, s.lost
	}
	select {
	case h := <-s.heads:
		return h, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *fakeStream) Read(p []byte) (int, error) {
	if s.input == nil {
		return 0, io.EOF
	}
	return s.input.Read(p)
}

func (s *fakeStream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = append(s.written, p...)
	return len(p), nil
}

func (s *fakeStream) CloseWrite() error { s.ended = true; return nil }

func (s *fakeStream) Reset(code codec.Code, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset, s.cause = append(s.reset, code), cause
}

func (s *fakeStream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *fakeStream) ID() uint64                         { return 1 }
func (s *fakeStream) ConnectionID() uint64               { return 7 }
func (s *fakeStream) Proto() codec.Proto                 { return s.proto }
func (s *fakeStream) WriteTrailers(codec.Fields) error   { return nil }
func (s *fakeStream) Trailers() codec.Fields             { return nil }
func (s *fakeStream) Context() context.Context           { return context.Background() }
func (s *fakeStream) SetReadDeadline(time.Time) error    { return nil }
func (s *fakeStream) SetWriteDeadline(t time.Time) error { return nil }
func (s *fakeStream) LocalAddress() network.Address      { return network.NameAddress("here", 1) }
func (s *fakeStream) RemoteAddress() network.Address     { return network.NameAddress("gateway", 2) }

// openerFunc is a pool.
type openerFunc func(ctx context.Context, head *codec.Request, info *network.StreamInfo) (codec.ClientStream, error)

func (fn openerFunc) OpenStream(ctx context.Context, head *codec.Request, info *network.StreamInfo) (codec.ClientStream, error) {
	return fn(ctx, head, info)
}

func opens(s codec.ClientStream) openerFunc {
	return func(context.Context, *codec.Request, *network.StreamInfo) (codec.ClientStream, error) { return s, nil }
}

func connectHead(*network.StreamInfo) (*codec.Request, error) {
	return &codec.Request{Method: "CONNECT", Authority: "foo.lyft.com:80"}, nil
}

func response(status int, fields ...codec.Field) *codec.Response {
	return &codec.Response{Status: status, Header: fields}
}
