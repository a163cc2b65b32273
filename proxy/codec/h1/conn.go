package h1

import (
	"net"
	"sync"
	"time"

	"culvert/proxy/network"
)

// conn is a connection, in either role.
type conn struct {
	// immutable
	nc            network.Conn
	cfg           Config
	stats         *Stats
	local, remote network.Address
	server        bool

	in    source
	out   sink
	clock readClock
	wg    sync.WaitGroup // watchers; they end with the connection
}

func (c *conn) init(nc network.Conn, cfg Config, server bool) {
	c.nc, c.cfg, c.server = nc, cfg.withDefaults(), server
	c.stats = c.cfg.Stats
	c.local, c.remote = network.AddressOf(nc.LocalAddr()), network.AddressOf(nc.RemoteAddr())
	c.in.init(nc)
	c.out.init(nc)
	c.clock.nc = nc
}

// readClock is the connection's read deadline, of which there are two: the one
// that is set, and now, while somebody is to be woken.
type readClock struct {
	nc network.Conn

	mu    sync.Mutex
	by    time.Time
	woken int
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

func (k *readClock) set(by time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.by.Equal(by) {
		return nil
	}
	k.by = by
	if k.woken > 0 {
		return nil
	}
	return k.nc.SetReadDeadline(by)
}

// wake makes whoever reads return, and everybody until resume.
func (k *readClock) wake() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.woken++; k.woken == 1 {
		_ = k.nc.SetReadDeadline(longAgo) // fails only on a closed connection
	}
}

func (k *readClock) resume() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.woken--; k.woken == 0 {
		_ = k.nc.SetReadDeadline(k.by) // as above
	}
}

// sink is the output of a connection. Its users take turns.
type sink struct {
	dst network.Conn
	raw net.Conn // the socket beneath, for writev; nil: one contiguous Write

	head []byte // spare, for a head or what frames a chunk
	iov  [3][]byte
	vec  net.Buffers
}

// maxSpare is what a connection keeps of its buffer for heads, bytes.
const maxSpare = 4 << 10

func (s *sink) init(c network.Conn) {
	s.dst = c
	if sock, ok := network.Beneath[*network.Socket](c); ok {
		s.raw = sock.Conn
	}
}

// buffer is an empty buffer for a head.
func (s *sink) buffer() []byte { return s.head[:0] }

// keep takes a buffer back.
func (s *sink) keep(b []byte) {
	if cap(b) <= maxSpare {
		s.head = b
	}
}

// write writes before, p and behind: one writev on a socket, else contiguously
// in pooled chunks, so that TLS makes few records. n is how much of all it
// wrote.
func (s *sink) write(before, p, behind []byte) (n int64, err error) {
	if s.raw != nil {
		s.iov = [3][]byte{before, p, behind}
		s.vec = s.iov[:]
		n, err = s.vec.WriteTo(s.raw)
		s.iov, s.vec = [3][]byte{}, nil // hold on to no sender's bytes
		return n, err
	}
	c := network.NewChunk(min(len(before)+len(p)+len(behind), network.ChunkLarge))
	defer c.Release()
	flush := func() error {
		m, err := s.dst.Write(c.Data)
		n += int64(m)
		c.Data = c.Space()[:0]
		return err
	}
	for _, b := range [...][]byte{before, p, behind} {
		for len(b) > 0 {
			if len(c.Room()) == 0 {
				if err := flush(); err != nil {
					return n, err
				}
			}
			m := copy(c.Room(), b)
			c.Data = c.Data[:len(c.Data)+m]
			b = b[m:]
		}
	}
	return n, flush()
}
