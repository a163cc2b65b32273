package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Server runs a Handler on each connection of a listener.
type Server struct {
	// immutable
	ln      net.Listener
	handler Handler
	cancel  context.CancelFunc
	results chan error
	// counted by the accept loop
	accepted atomic.Int64
	// guarded by mu
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	ended bool

	wg sync.WaitGroup // the accept loop and the handlers
}

// maxResults is how many results of handlers wait to be asked for; later ones
// are dropped.
const maxResults = 1 << 14

// Serve runs h on the connections of ln, each on a goroutine, until the test
// ends; then it closes ln and what connections there are, and waits. How each
// connection ended is for [Server.Result]; a server that nobody asks fails no
// test.
func Serve(t testing.TB, ln net.Listener, h Handler) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		ln: ln, handler: h, cancel: cancel,
		results: make(chan error, maxResults), conns: map[net.Conn]struct{}{},
	}
	s.wg.Go(func() { s.accept(ctx) }) // ends when ln is closed
	t.Cleanup(s.Close)
	return s
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Accepted is how many connections there have been.
func (s *Server) Accepted() int64 { return s.accepted.Load() }

// Result is how the next connection to end ended, in the order they do: nil if
// all was as its handler wants it.
func (s *Server) Result(ctx context.Context) error {
	select {
	case err := <-s.results:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s: no connection has ended (%d accepted): %w", s.Addr(), s.Accepted(), context.Cause(ctx))
	}
}

// Close stops the server, as a killed process would: its connections are
// closed under their handlers. It waits for them. A second call does nothing.
func (s *Server) Close() {
	s.cancel()
	_ = s.ln.Close()
	s.mu.Lock()
	s.ended = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *Server) accept(ctx context.Context) {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.accepted.Add(1)
		if !s.keep(c) {
			return
		}
		s.wg.Go(func() { s.serve(ctx, c) }) // ends when c does
	}
}

// keep makes c one that Close closes, or closes it if Close has been.
func (s *Server) keep(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		_ = c.Close()
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) serve(ctx context.Context, c net.Conn) {
	err := s.handler(ctx, c)
	if errors.Is(err, net.ErrClosed) && ctx.Err() != nil {
		err = nil // closed by Close
	}
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	select {
	case s.results <- err:
	default:
	}
}
