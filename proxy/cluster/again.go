package cluster

import (
	"context"
	"errors"
	"sync"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// againStream is a request on a kept connection that may have been left idle
// too long. If it dies before a byte of an answer, and sending the request
// again is as sending it once, it is sent again, once, on another connection.
// The codec says so with codec.ErrNotProcessed. It hides what its stream can do
// beyond codec.ClientStream, so it is put around requests without a body only.
type againStream struct {
	codec.ClientStream
	retry func(ctx context.Context) (codec.ClientStream, error)

	mu    sync.Mutex
	tried bool
	reset func(codec.ClientStream) // what Reset was called with; nil: it was not
}

// mayResend reports a request whose stream is worth it.
func mayResend(head *codec.Request, pc *pooled) bool {
	return pc.proto != codec.HTTP2 && head.EndStream && !head.AsksTunnel()
}

// ReadResponse is the stream's, or the next one's.
func (s *againStream) ReadResponse(ctx context.Context) (*codec.Response, error) {
	res, err := s.ClientStream.ReadResponse(ctx)
	if err == nil || !errors.Is(err, codec.ErrNotProcessed) || ctx.Err() != nil || s.tried {
		return res, err
	}
	next, retryErr := s.retry(ctx)
	if retryErr != nil {
		return nil, errors.Join(err, retryErr)
	}
	s.mu.Lock()
	old := s.ClientStream
	s.ClientStream, s.tried = next, true
	if s.reset != nil { // meanwhile
		s.reset(next)
	}
	s.mu.Unlock()
	_ = old.Close()
	return next.ReadResponse(ctx)
}

// Reset resets the current stream, and the one that may take its place.
func (s *againStream) Reset(code codec.Code, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset = func(on codec.ClientStream) { on.Reset(code, cause) }
	s.reset(s.ClientStream)
}

// Close closes the current stream.
func (s *againStream) Close() error {
	s.mu.Lock()
	current := s.ClientStream
	s.mu.Unlock()
	return current.Close()
}

// ReadChunk is Read, so that bodies still move as chunks.
func (s *againStream) ReadChunk() (*network.Chunk, error) {
	if r, ok := s.ClientStream.(network.ChunkReader); ok {
		return r.ReadChunk()
	}
	c := network.NewChunk(network.ChunkMedium)
	n, err := s.Read(c.Space())
	if n > 0 {
		c.Data = c.Space()[:n]
		return c, nil
	}
	c.Release()
	return nil, err
}
