package network

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// lent is how many pipes there are, and how many of them are free.
func (p *pipePool) lent() (made, free, users int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made, len(p.free), p.users
}

// limit sets how many pipes there may be, for the relays that run.
func (p *pipePool) limit(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.max = n
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			made, free, users := pipes.lent()
			t.Fatalf("never: %s (%d pipes, %d free, %d users)", what, made, free, users)
		}
	}
}

// echoes sends a little through a relay and back.
func (r *rig) echoes(t *testing.T) {
	t.Helper()
	for _, way := range [][2]*net.TCPConn{{r.app, r.origin}, {r.origin, r.app}} {
		if _, err := way[0].Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(way[1], b); err != nil || string(b) != "hello" {
			t.Fatalf("read %q, %v", b, err)
		}
	}
}

// Idle flows hold no pipe, and when all have ended there is none.
func TestIdleFlowsHoldNoPipe(t *testing.T) {
	var rigs []*rig
	for range 20 {
		r := startRelay(t, bare, RelayOptions{})
		r.echoes(t)
		rigs = append(rigs, r)
	}
	eventually(t, "all pipes are free", func() bool { made, free, _ := pipes.lent(); return made == free })
	eventually(t, "what nobody needs is closed", func() bool { made, _, users := pipes.lent(); return made == 0 && users == 40 })
	rigs[0].echoes(t) // the next one gets a new one
	for _, r := range rigs {
		_ = r.app.CloseWrite()
		_ = r.origin.CloseWrite()
		if res := r.wait(t); res.Err != nil {
			t.Error(res.Err)
		}
	}
	if made, free, users := pipes.lent(); made != 0 || free != 0 || users != 0 {
		t.Errorf("%d pipes, %d free, %d users are left", made, free, users)
	}
}

// Where there is no pipe to be had the bytes go through chunks, in the middle
// of a flow as well.
func TestWithoutPipes(t *testing.T) {
	const size = 4 << 20
	r := startRelay(t, bare, RelayOptions{})
	r.echoes(t)
	pipes.limit(0)
	eventually(t, "the pipes are closed", func() bool { made, _, _ := pipes.lent(); return made == 0 })
	sent := make(chan error, 1)
	go func() { // ends when all is written
		_, err := io.Copy(r.origin, random(3, size))
		sent <- errors.Join(err, r.origin.CloseWrite())
	}()
	h, n, err := digest(r.app)
	want, _, _ := digest(random(3, size))
	if err := errors.Join(err, <-sent); err != nil || n != size || !bytes.Equal(h.Sum(nil), want.Sum(nil)) {
		t.Errorf("%d bytes, %v, or the digest differs", n, err)
	}
	if made, _, _ := pipes.lent(); made != 0 {
		t.Errorf("%d pipes were made", made)
	}
	_ = r.app.CloseWrite()
	if res := r.wait(t); res.Err != nil {
		t.Error(res.Err)
	}
}

// A process that has no descriptor left goes on relaying, and splices again
// once it has some, whoever is still there.
func TestWithoutDescriptors(t *testing.T) {
	r := startRelay(t, bare, RelayOptions{})
	r.echoes(t)
	eventually(t, "the pipes are closed", func() bool { made, _, _ := pipes.lent(); return made == 0 })
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &old) }()
	r.echoes(t)
	if made, _, _ := pipes.lent(); made != 0 {
		t.Errorf("%d pipes without a descriptor", made)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it splices again", func() bool {
		r.echoes(t)
		made, _, _ := pipes.lent()
		return made > 0
	})
}

// An urgent byte is dropped, as whoever reads a socket drops it. What comes
// behind it is not.
func TestUrgentByte(t *testing.T) {
	for _, c := range []struct {
		name string
		ends bool // the sender has ended before anybody reads on
	}{{"the flow goes on", false}, {"the flow has ended", true}} {
		t.Run(c.name, func(t *testing.T) {
			r := startRelay(t, bare, RelayOptions{})
			r.echoes(t)
			raw, err := r.app.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			var sendErr error
			if err := errors.Join(raw.Control(func(fd uintptr) {
				sendErr = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil)
			}), sendErr); err != nil {
				t.Fatal(err)
			}
			_, err = r.app.Write([]byte("behind"))
			if c.ends {
				err = errors.Join(err, r.app.CloseWrite())
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = r.origin.SetReadDeadline(time.Now().Add(time.Minute))
			b := make([]byte, len("behind"))
			if _, err := io.ReadFull(r.origin, b); err != nil || string(b) != "behind" {
				t.Errorf("read %q, %v", b, err)
			}
			_ = r.app.CloseWrite() // may have been
			_ = r.origin.CloseWrite()
			if res := r.wait(t); res.Err != nil {
				t.Error(res.Err)
			}
		})
	}
}

// A pipe in which bytes are left is never lent again.
func TestBrokenWriteDiscardsThePipe(t *testing.T) {
	r := startRelay(t, bare, RelayOptions{})
	keep := startRelay(t, bare, RelayOptions{}) // so that the pool lives on
	keep.echoes(t)
	go func() { _, _ = io.Copy(r.app, random(1, 1<<30)) }() // ends with the reset
	eventually(t, "the destination takes no more", func() bool {
		made, free, _ := pipes.lent()
		return made-free == 1
	})
	s, _ := NewSocket(r.origin)
	s.Abort(nil)
	if res := r.wait(t); !IsReset(res.Err) {
		t.Errorf("result %+v, want a reset", res)
	}
	eventually(t, "all pipes are free", func() bool { made, free, _ := pipes.lent(); return made == free })
	_, free, _ := pipes.lent()
	for range free {
		b := pipes.borrow()
		if n, err := unix.FcntlInt(uintptr(b.r), unix.F_GETPIPE_SZ, 0); err != nil || n < pipeSmall {
			t.Errorf("a pipe of %d bytes, %v", n, err)
		}
		if n, err := unix.Read(b.r, make([]byte, 1)); err != unix.EAGAIN {
			t.Errorf("a free pipe holds bytes: %d, %v", n, err)
		}
		defer pipes.giveBack(b)
	}
	keep.echoes(t)
}

func TestPipeLimit(t *testing.T) {
	for descriptors, want := range map[uint64]int{0: 0, 256: 16, 1024: 64, 20000: maxPipes, 1 << 63: maxPipes} {
		if got := PipeLimit(descriptors); got != want {
			t.Errorf("%d descriptors: %d pipes, want %d", descriptors, got, want)
		}
	}
}
