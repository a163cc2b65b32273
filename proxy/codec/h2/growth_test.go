package h2

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"culvert/proxy/network"
)

// farEnd is a connection over a path of that length, on which nothing happens.
type farEnd struct {
	network.Conn
	trip  time.Duration
	asked int
}

func (e *farEnd) RoundTrip() time.Duration { e.asked++; return e.trip }
func (e *farEnd) LocalAddr() net.Addr      { return &net.TCPAddr{} }
func (e *farEnd) RemoteAddr() net.Addr     { return &net.TCPAddr{} }

func yes() bool { return true }

// taker is a stream whose reader takes what the peer sends.
type taker struct {
	*stream
	end *farEnd
}

func newTaker(trip time.Duration, cfg Config) taker {
	end := &farEnd{trip: trip}
	return taker{newConn(end, cfg, true).newStream(1), end}
}

// take has the peer send n windows, each of which is read within d, and returns
// the window then.
func (t taker) take(n int, d time.Duration) int {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	for range n {
		const parts = 4
		size := t.c.recvSize(t.stream)
		for range parts {
			t.recvWindow -= size / parts
			time.Sleep(d / parts)
			t.c.consumedLocked(t.stream, size/parts)
		}
	}
	return t.c.recvSize(t.stream)
}

func (t taker) close() { _ = t.Close() }

// A window grows, by doubling, when its reader takes all of it within a few round
// trips of a long path, and nobody has said what it shall be.
func TestWindowGrows(t *testing.T) {
	const trip, mib = 50 * time.Millisecond, 1 << 20
	memoryIsShort := func() bool { return false }
	for name, c := range map[string]struct {
		trip    time.Duration
		took    time.Duration
		mayGrow func() bool
		windows int
		want    int // MiB
	}{
		"taken quickly":        {trip, trip, yes, 1, 2},
		"just quickly enough":  {trip, quickTrips * trip, yes, 1, 2},
		"again and again":      {trip, trip, yes, 2, 4},
		"to its most":          {trip, trip, yes, 10, 8},
		"taken slowly":         {trip, quickTrips*trip + 10*time.Millisecond, yes, 10, 1},
		"over a short path":    {time.Millisecond, 0, yes, 10, 1},
		"over an unknown path": {0, 0, yes, 10, 1},
		"configured":           {trip, trip, nil, 10, 1},
		"memory is short":      {trip, trip, memoryIsShort, 10, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTaker(c.trip, Config{MayGrow: c.mayGrow})
				defer s.close()
				if got := s.take(c.windows, c.took); got != c.want*mib {
					t.Errorf("the window is %d, want %d MiB", got, c.want)
				}
				if s.recvWindow+s.recvCredit != c.want*mib {
					t.Errorf("the peer may send %d, and %d are owed", s.recvWindow, s.recvCredit)
				}
			})
		})
	}
}

// A full window that was left for long and is then taken at once is no sign.
func TestStalledWindowDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTaker(50*time.Millisecond, Config{MayGrow: yes})
		defer s.close()
		for range 10 {
			time.Sleep(time.Second)
			if got := s.take(1, 0); got != 1<<20 {
				t.Fatalf("the window is %d", got)
			}
		}
	})
}

// How long the path is is asked for once a second at most, and not at all once
// windows do not grow any more.
func TestPathIsSeldomAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTaker(time.Millisecond, Config{MayGrow: yes})
		defer s.close()
		s.take(1000, 0)
		if s.end.asked != 1 {
			t.Errorf("a short path was asked for %d times", s.end.asked)
		}
		s = newTaker(time.Second, Config{MayGrow: yes})
		defer s.close()
		s.take(100, time.Second+time.Millisecond)
		if s.end.asked != 3 {
			t.Errorf("%d times for three doublings", s.end.asked)
		}
	})
}

// All windows together grow by no more than the process has for it, and what one
// has grown by is another's when its stream is over.
func TestGrowthIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []taker
		grown := func() (n int) {
			for _, s := range all {
				n += int(s.growth.by)
			}
			return n
		}
		for range 20 {
			s := newTaker(50*time.Millisecond, Config{MayGrow: yes})
			defer s.close()
			s.take(10, 0)
			all = append(all, s)
		}
		const each = maxGrown - 1<<20
		if n := grown(); n > maxGrowth || n <= maxGrowth-each {
			t.Errorf("twenty windows have grown by %d", n)
		}
		if got := all[19].take(1, 0); got != 1<<20 {
			t.Errorf("one more has grown to %d", got)
		}
		all[0].close()
		all[0].close() // twice is once
		if got := all[19].take(10, 0); got != maxGrown {
			t.Errorf("in the place of another it has grown to %d", got)
		}
		for _, s := range all {
			s.close()
		}
		if n := grownBy.Load(); n != 0 {
			t.Errorf("%d are left behind", n)
		}
	})
}

// A stream is of the allocator's class of 576 bytes: ten thousand of them are
// 640 KB less than in the next.
func TestStreamSize(t *testing.T) {
	if n := unsafe.Sizeof(stream{}); n > 576 {
		t.Errorf("a stream has %d bytes", n)
	}
}
