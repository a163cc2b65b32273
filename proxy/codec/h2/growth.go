package h2

import (
	"sync/atomic"
	"time"

	"culvert/proxy/network"
)

const (
	// maxGrown is what the window of a stream grows to, bytes: over 50 ms a flow
	// that the path carries at 1 Gbit/s has 6 MiB under way, which is also what the
	// kernel lets a receive buffer grow to (net.ipv4.tcp_rmem), the window of a flow
	// without a tunnel.
	maxGrown = 8 << 20
	// maxGrowth is by how much the windows of all streams of the process have grown
	// at most, bytes, so that they cost it no more, however many are stuck.
	maxGrowth = 64 << 20
	// longPath is the shortest round trip over which windows grow: in a shorter one
	// a window of 1 MiB is 4 Gbit/s, and the machine is the limit.
	longPath = 2 * time.Millisecond
	// quickTrips is within how many round trips a window is taken that may be the
	// limit: one for its bytes, one until the credit is back, and one each for a
	// packet that is lost and for one that is lost again.
	quickTrips = 4
	// pathKnown is how long a connection's round trip is taken to be the same.
	pathKnown = time.Second
)

// grownBy is by how much windows have grown, bytes. It is the whole process's on
// purpose: so is its memory.
var grownBy atomic.Int64

// recvGrowth is how the window of a stream grows. Guarded by conn.mu.
type recvGrowth struct {
	by    int32  // bytes, beyond Config.StreamWindow
	taken int32  // bytes, of the window that is being taken
	since uint32 // milliseconds since the connection's start, when it began to be
}

// pathLength is how long a round trip of the connection is, and when that was
// asked. Guarded by conn.mu.
type pathLength struct {
	trip, asked time.Duration
	known       bool
}

// millis is a time since the connection's start. It comes again after 49 days: a
// window that has been taken within that may grow without need.
func millis(d time.Duration) uint32 { return uint32(d / time.Millisecond) }

// growLocked notes that n bytes of st's window are credited, and returns by how
// much it grows: it doubles when a whole one was taken within a few round trips,
// since then it may be what keeps the peer from sending more.
func (c *conn) growLocked(st *stream, n int) int {
	size := c.recvSize(st)
	if c.cfg.MayGrow == nil || size >= maxGrown {
		return 0
	}
	if st.growth.taken += int32(n); int(st.growth.taken) < size/2*2 { // it is credited by halves
		return 0
	}
	now := time.Since(c.timers.start)
	took := time.Duration(millis(now)-st.growth.since) * time.Millisecond
	st.growth.taken, st.growth.since = 0, millis(now)
	if trip := c.pathLocked(now); trip < longPath || took > quickTrips*trip || !c.cfg.MayGrow() {
		return 0
	}
	more := min(size, maxGrown-size)
	if grownBy.Add(int64(more)) > maxGrowth {
		grownBy.Add(-int64(more))
		return 0
	}
	st.growth.by += int32(more)
	return more
}

// recvSize is the whole window of st.
func (c *conn) recvSize(st *stream) int { return c.cfg.StreamWindow + int(st.growth.by) }

// pathLocked is the round trip of the connection, 0 where nobody knows.
func (c *conn) pathLocked(now time.Duration) time.Duration {
	p := &c.recv.path
	if !p.known || now-p.asked > pathKnown {
		*p = pathLength{trip: network.RoundTrip(c.nc), asked: now, known: true}
	}
	return p.trip
}

// ungrowLocked gives back what the window has grown by, when nothing comes any
// more and nothing is held.
func (st *stream) ungrowLocked() {
	grownBy.Add(-int64(st.growth.by))
	st.growth.by = 0
}
