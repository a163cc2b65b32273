package endings

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"culvert/test/peer"
)

// origin is the other end of all flows.
type origin struct {
	seed    uint64
	unrests *unrest

	mu    sync.Mutex
	flows map[uint64][]originEnd // by their numbers
	open  int
	lost  int // connections that ended before they had a number
}

// originEnd is what came of one connection.
type originEnd struct {
	*seen
	at epoch // when it was over
}

// newOrigin serves flows on the listeners until the test ends.
func newOrigin(t *testing.T, seed uint64, u *unrest, lns ...net.Listener) *origin {
	o := &origin{seed: seed, unrests: u, flows: map[uint64][]originEnd{}}
	for _, ln := range lns {
		peer.Serve(t, ln, o.serve)
	}
	return o
}

func (o *origin) serve(_ context.Context, c net.Conn) error {
	defer c.Close()
	o.mu.Lock()
	o.open++
	o.mu.Unlock()
	number, s := o.play(c.(*net.TCPConn))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open--
	if s == nil {
		o.lost++
	} else {
		o.flows[number] = append(o.flows[number], originEnd{s, o.unrests.now()})
	}
	return nil // what went wrong is in what was seen
}

// play is nil for a connection that never said which flow it is.
func (o *origin) play(c *net.TCPConn) (number uint64, s *seen) {
	if c.SetDeadline(time.Now().Add(limit)) != nil {
		return 0, nil
	}
	var h [helloSize]byte
	if _, err := io.ReadFull(c, h[:]); err != nil {
		return 0, nil
	}
	number = binary.BigEndian.Uint64(h[:])
	p := planOf(o.seed, number)
	return number, play(c, p.origin, p.app)
}

// busy is how many connections there are.
func (o *origin) busy() int { o.mu.Lock(); defer o.mu.Unlock(); return o.open }

// ends is how a flow's connections ended, those there were.
func (o *origin) ends(number uint64) []originEnd {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flows[number]
}
