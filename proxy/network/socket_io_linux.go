package network

import (
	"io"
	"net"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of this file are made without telling Go's scheduler: the
// descriptors do not block, and what a call takes is a copy. Told of it, the
// scheduler takes the processor away from who has been in the kernel for 20 µs,
// wakes another thread for it, and looks every 20 µs whether it must do so
// again: more than a tenth of all CPU seconds of a relay at full rate.

// maxVector is IOV_MAX of the kernel.
const maxVector = 1024

// readNow reads what is there; EAGAIN is an error as any other.
func readNow(fd uintptr, p []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		if errno != unix.EINTR {
			return done(n, errno)
		}
	}
}

// writevNow writes what the kernel takes now.
func writevNow(fd uintptr, v []unix.Iovec) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&v[0])), uintptr(min(len(v), maxVector)))
		if errno != unix.EINTR {
			return done(n, errno)
		}
	}
}

// spliceNow moves what is there, at most n bytes; one end is a pipe.
func spliceNow(from, to uintptr, n int) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, from, 0, to, 0, uintptr(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if errno != unix.EINTR {
			return done(n, errno)
		}
	}
}

func done(n uintptr, errno syscall.Errno) (int, error) {
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// chunkReader is the one reader's state, so that a read makes no closure.
type chunkReader struct {
	try   func(fd uintptr) bool
	more  bool // the last read filled its chunk
	chunk *Chunk
	n     int
	err   error
}

// read is try: false means wait, holding no chunk.
func (r *chunkReader) read(fd uintptr) bool {
	size := ChunkLarge
	if r.more {
		size = ChunkHuge
	}
	r.chunk = NewChunk(size)
	r.n, r.err = readNow(fd, r.chunk.Space())
	r.more = r.n >= ChunkLarge
	if r.err == unix.EAGAIN {
		r.chunk.Release()
		r.chunk = nil
		return false
	}
	return true
}

// ReadChunk waits for bytes holding no buffer.
func (s *Socket) ReadChunk() (*Chunk, error) {
	r := &s.reader
	if err := s.raw.Read(r.try); err != nil {
		return nil, err
	}
	c, n, err := r.chunk, r.n, r.err
	r.chunk = nil
	switch {
	case err != nil:
		c.Release()
		return nil, wrapKernel(err)
	case n == 0:
		c.Release()
		return nil, s.endOfInput()
	}
	c.Data = c.Space()[:n]
	return c, nil
}

// vectorWriter is the state of a write, so that it makes no closure.
type vectorWriter struct {
	mu  sync.Mutex
	try func(fd uintptr) bool
	v   []unix.Iovec
	at  int // of v, the first that is not written whole
	n   int // bytes written
	err error
}

func (w *vectorWriter) add(b []byte) {
	if len(b) > 0 {
		v := unix.Iovec{Base: &b[0]}
		v.SetLen(len(b))
		w.v = append(w.v, v)
	}
}

// write is try: false means that the socket takes no more for now.
func (w *vectorWriter) write(fd uintptr) bool {
	for w.at < len(w.v) {
		n, err := writevNow(fd, w.v[w.at:])
		switch {
		case err == unix.EAGAIN:
			return false
		case err != nil:
			w.err = err
			return true
		case n == 0:
			w.err = io.ErrUnexpectedEOF // the kernel takes a byte or says why not
			return true
		}
		w.advance(n)
	}
	return true
}

func (w *vectorWriter) advance(n int) {
	w.n += n
	for n > 0 {
		v := &w.v[w.at]
		if size := int(v.Len); n >= size {
			n -= size
			w.at++
			continue
		}
		v.Base = (*byte)(unsafe.Add(unsafe.Pointer(v.Base), n))
		v.SetLen(int(v.Len) - n)
		return
	}
}

// flush writes the vector and forgets it.
func (w *vectorWriter) flush(raw syscall.RawConn) error {
	w.at, w.n, w.err = 0, 0, nil
	err := raw.Write(w.try)
	if err == nil && w.err != nil {
		err = wrapKernel(w.err)
	}
	clear(w.v) // hold on to nobody's bytes
	w.v = w.v[:0]
	return err
}

// WriteChunk writes the whole chunk.
func (s *Socket) WriteChunk(c *Chunk) error {
	defer c.Release()
	w := &s.writer
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(c.Data)
	return w.flush(s.raw)
}

// Write is net.Conn's, with a reset told as one.
func (s *Socket) Write(p []byte) (int, error) {
	w := &s.writer
	w.mu.Lock()
	defer w.mu.Unlock()
	w.add(p)
	err := w.flush(s.raw)
	return w.n, err
}

// WriteBuffers writes all of b, in order and with as few calls as the kernel
// allows. The bytes stay the caller's.
func (s *Socket) WriteBuffers(b net.Buffers) error {
	w := &s.writer
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range b {
		w.add(p)
	}
	return w.flush(s.raw)
}

// WriteSocket is the kernel's socket to which what is written to c goes as it
// is; nil if there is none. It looks through observers, also those that have
// bytes of the other direction read ahead.
func WriteSocket(c Conn) *Socket {
	for {
		switch x := c.(type) {
		case *Socket:
			return x
		case *peekedConn:
			c = x.Conn
		case Unwrapper:
			c = x.Unwrap()
		default:
			return nil
		}
	}
}
