package cluster

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"culvert/proxy/network"
	"culvert/proxy/transport"

	"golang.org/x/sys/unix"
)

// spareLife is how long a raw connection is kept that nobody has used; a server
// that waits for the first byte waits about as long.
const spareLife = time.Minute

// maxSpares bounds the raw connections of an endpoint made in advance.
const maxSpares = 16

// spares are raw connections made in advance, for flows to come. Each holds a
// place in the breaker, which goes to whoever takes it.
type spares struct {
	c *Cluster

	mu     sync.Mutex
	ready  map[poolKey][]*spare
	making map[poolKey]int
	closed bool
}

type spare struct {
	conn  network.Conn
	timer *time.Timer
}

func newSpares(c *Cluster) *spares {
	return &spares{c: c, ready: make(map[poolKey][]*spare), making: make(map[poolKey]int)}
}

// take gives away a connection that is still good; nil if there is none.
func (s *spares) take(h *host) network.Conn {
	for {
		s.mu.Lock()
		list := s.ready[h.key()]
		if len(list) == 0 {
			s.mu.Unlock()
			return nil
		}
		sp := list[0]
		s.ready[h.key()] = list[1:]
		s.mu.Unlock()
		if !sp.timer.Stop() {
			continue // expire drops it
		}
		if alive(sp.conn) {
			return sp.conn
		}
		s.drop(sp)
	}
}

func (s *spares) drop(sp *spare) {
	sp.conn.Abort(errNobodyWaits)
	s.c.breaker.connections.release()
}

// fill makes as many connections as the ratio wants, after one was asked for.
func (s *spares) fill(h *host) {
	ratio := s.c.preconnect.perUpstream
	if ratio <= 1 || !s.c.canSpare(h) {
		return
	}
	used := max(h.n.cxActive.Load(), 1)
	want := min(int(math.Ceil(float64(used)*ratio))-int(used), maxSpares)
	s.mu.Lock()
	defer s.mu.Unlock()
	for have := len(s.ready[h.key()]) + s.making[h.key()]; have < want; have++ {
		s.making[h.key()]++
		s.c.spawn(func(ctx context.Context) { _ = s.make(ctx, h) }) // the flow that needs it will see
	}
}

// add makes one connection if there is none.
func (s *spares) add(ctx context.Context, h *host) error {
	if !s.c.canSpare(h) {
		return nil
	}
	s.mu.Lock()
	if len(s.ready[h.key()])+s.making[h.key()] > 0 {
		s.mu.Unlock()
		return nil
	}
	s.making[h.key()]++
	s.mu.Unlock()
	return s.make(ctx, h)
}

func (s *spares) make(ctx context.Context, h *host) error {
	conn, err := s.connect(ctx, h)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.making[h.key()]--
	switch {
	case err != nil:
		return err
	case s.closed:
		s.drop(&spare{conn: conn})
		return errDraining
	}
	sp := &spare{conn: conn}
	sp.timer = time.AfterFunc(spareLife, func() { s.expire(h.key(), sp) })
	s.ready[h.key()] = append(s.ready[h.key()], sp)
	return nil
}

func (s *spares) connect(ctx context.Context, h *host) (network.Conn, error) {
	if !s.c.breaker.connections.acquire() {
		return nil, overflow(s.c.name, "connections")
	}
	conn, err := s.c.connect(ctx, s.c.deps.Connector, h, transport.Options{}, nil)
	if err != nil {
		s.c.breaker.connections.release()
	}
	return conn, err
}

func (s *spares) expire(key poolKey, sp *spare) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.ready[key] {
		if x == sp {
			s.ready[key] = append(s.ready[key][:i:i], s.ready[key][i+1:]...)
			break
		}
	}
	s.drop(sp) // whoever took it could not stop the timer, and left it
}

// close ends what nobody will use, and keeps nothing from then on.
func (s *spares) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for key, list := range s.ready {
		for _, sp := range list {
			if sp.timer.Stop() {
				s.drop(sp)
			}
		}
		delete(s.ready, key)
	}
}

// canSpare reports whether a raw connection to h is the same whoever it is for.
func (c *Cluster) canSpare(h *host) bool {
	return h.check == nil && !h.inProcess() && c.alike
}

// alive reports that a connection nobody has read from has not ended. Bytes are
// fine: a server that speaks first. Where it cannot look it says yes.
func alive(c network.Conn) bool {
	s, ok := c.(*network.Socket)
	if !ok {
		return true
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	ended := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		ended = n == 0 && err == nil || err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	})
	return err == nil && !ended
}
