package network

import (
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxPipes is how many pipes the process has at most, for splicing.
	maxPipes = 512
	// largePipes of them hold pipeLarge bytes, the others pipeSmall, which is the
	// kernel's default: an ordinary user has 16,384 pages for all pipes together
	// (pipe-user-pages-soft, pipe(7)), and these are 15,872. What a socket has
	// received at once often fills the large one, and each turn costs a wake-up.
	largePipes = 32
	pipeLarge  = 1 << 20
	pipeSmall  = 64 << 10
	// pipesTrimmed is how often pipes that nobody has needed are closed.
	pipesTrimmed = time.Second
	// pipesRetried is how long after the kernel has refused a pipe it is asked for
	// the next.
	pipesRetried = time.Second
)

// PipeLimit is how many pipes relays between kernel sockets take at most, of two
// descriptors each, in a process that may have so many descriptors.
func PipeLimit(descriptors uint64) int { return int(min(descriptors/16, maxPipes)) }

// pipe is a kernel buffer of which both ends are ours. It is empty while it is
// in a pool.
type pipe struct{ r, w int }

func (p *pipe) close() {
	_ = unix.Close(p.r) // an empty pipe has nothing to lose
	_ = unix.Close(p.w)
}

// pipes is shared by the whole process on purpose, like the chunks: it holds
// nothing but spare pipes, and none while nothing is relayed.
var pipes pipePool

// pipePool lends pipes to relays between kernel sockets.
type pipePool struct {
	mu    sync.Mutex
	users int     // relays' directions that may want one
	max   int     // how many there may be
	made  int     // how many there are, free or lent
	free  []*pipe // the last one is the warmest
	spare int     // how many of free nobody has needed since the last trim
	timer *time.Timer

	refused time.Time // when the kernel gave none; zero: it has not
}

// enter says that somebody will borrow, until leave.
func (p *pipePool) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users++; p.users > 1 {
		return
	}
	p.max, p.refused = maxPipes, time.Time{}
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil {
		p.max = PipeLimit(r.Cur)
	}
}

// leave closes all pipes after the last one.
func (p *pipePool) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users--; p.users > 0 {
		return
	}
	p.closeLocked(len(p.free))
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// borrow is an empty pipe, or nil where there is none to be had: the bytes go
// another way then.
func (p *pipePool) borrow() *pipe {
	p.mu.Lock()
	if last := len(p.free) - 1; last >= 0 {
		b := p.free[last]
		p.free = p.free[:last]
		p.spare = min(p.spare, last)
		p.mu.Unlock()
		return b
	}
	if p.made >= p.max || p.refusedLatelyLocked() {
		p.mu.Unlock()
		return nil
	}
	p.made++
	size := pipeSmall
	if p.made <= largePipes {
		size = pipeLarge
	}
	p.mu.Unlock()
	b := newPipe(size)
	if b == nil {
		p.mu.Lock()
		p.made--
		p.refused = time.Now()
		p.mu.Unlock()
	}
	return b
}

// refusedLatelyLocked: who asks the kernel each time pays each time.
func (p *pipePool) refusedLatelyLocked() bool {
	return !p.refused.IsZero() && time.Since(p.refused) < pipesRetried
}

// giveBack takes a pipe that is empty again.
func (p *pipePool) giveBack(b *pipe) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, b)
	if p.timer == nil && p.users > 0 {
		p.spare = len(p.free)
		p.timer = time.AfterFunc(pipesTrimmed, p.trim)
	}
}

// discard closes a pipe that bytes are left in.
func (p *pipePool) discard(b *pipe) {
	b.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made--
}

// trim closes what nobody has needed for pipesTrimmed.
func (p *pipePool) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		return // all have left
	}
	p.closeLocked(min(p.spare, len(p.free)))
	if p.spare = len(p.free); p.spare == 0 {
		p.timer = nil // the next one that comes back arms it
		return
	}
	p.timer.Reset(pipesTrimmed)
}

// closeLocked closes the n coldest.
func (p *pipePool) closeLocked(n int) {
	for _, b := range p.free[:n] {
		b.close()
	}
	p.free = slices.Delete(p.free, 0, n)
	p.made -= n
}

// newPipe is nil where the kernel gives none of a useful size.
func newPipe(size int) *pipe {
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC) != nil {
		return nil
	}
	b := &pipe{r: fds[0], w: fds[1]}
	has, err := unix.FcntlInt(uintptr(b.r), unix.F_GETPIPE_SZ, 0)
	if err == nil && has < size {
		// It may be refused: then it stays as large as it is.
		if n, err := unix.FcntlInt(uintptr(b.r), unix.F_SETPIPE_SZ, size); err == nil {
			has = n
		}
	}
	if err != nil || has < pipeSmall {
		b.close()
		return nil
	}
	return b
}
