package appliance

import (
	"errors"
	"math"
	"net"
	"os"
	"sync"
	"syscall"

	"culvert/proxy/network"
)

// reservedDescriptors are kept for what must work when connections have used up
// the rest: the admin's connections, logs that are opened anew, a reload.
const reservedDescriptors = 64

// adminDescriptors of them are held open, so that there is something to give
// to the admin when the process has none left.
const adminDescriptors = 8

// connectionLimit is how many connections kernel sockets may have accepted at a
// time. Each wants another one towards its upstream, so it is half of the
// descriptors (RLIMIT_NOFILE; Go has raised the soft limit to the hard one),
// less the reserve and the pipes that bytes are spliced through.
func connectionLimit() int64 {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil || r.Cur > math.MaxInt32 {
		return math.MaxInt32
	}
	return limitOf(int64(r.Cur))
}

func limitOf(descriptors int64) int64 {
	pipes := 2 * int64(network.PipeLimit(uint64(descriptors)))
	return max((descriptors-reservedDescriptors-pipes)/2, 1)
}

// reserve holds descriptors open and gives them up one by one.
type reserve struct {
	mu   sync.Mutex
	held []*os.File
	size int // 0 once it is closed
}

func newReserve(size int) *reserve {
	r := &reserve{size: size}
	r.refill()
	return r
}

// refill takes descriptors again, as many as there are.
func (r *reserve) refill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.held) < r.size {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return // the next one who gives back tries again
		}
		r.held = append(r.held, f)
	}
}

// giveUp frees one descriptor; false if none is held.
func (r *reserve) giveUp() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.held) == 0 {
		return false
	}
	last := len(r.held) - 1
	_ = r.held[last].Close()
	r.held = r.held[:last]
	return true
}

// close gives up all, for good: a connection may give back after it.
func (r *reserve) close() {
	r.mu.Lock()
	r.size = 0
	r.mu.Unlock()
	for r.giveUp() {
	}
}

// reservedListener accepts also when the process has no descriptor left.
type reservedListener struct {
	net.Listener
	reserve *reserve
}

// Accept gives up a reserved descriptor for a connection that there is no other
// for. Somebody else may take it first; then it gives up another.
func (l *reservedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		switch {
		case err == nil:
			return &reservedConn{Conn: c, reserve: l.reserve}, nil
		case errors.Is(err, syscall.EMFILE) && l.reserve.giveUp():
		default:
			return nil, err
		}
	}
}

func (l *reservedListener) Close() error {
	l.reserve.close()
	return l.Listener.Close()
}

// reservedConn gives its descriptor back to the reserve.
type reservedConn struct {
	net.Conn
	reserve *reserve
}

func (c *reservedConn) Close() error {
	err := c.Conn.Close()
	c.reserve.refill()
	return err
}
