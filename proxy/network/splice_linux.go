package network

import (
	"io"

	"golang.org/x/sys/unix"
)

// splicePath moves bytes between kernel sockets inside the kernel. It holds a
// pipe only while bytes are in it, and where there is no pipe to be had it moves
// chunks: neither an idle flow nor the five-hundredth busy one costs a
// descriptor.
type splicePath struct {
	src, dst *Socket
}

func (p *splicePath) name() string { return "splice" }

// held is nothing of ours: the kernel has it.
func (p *splicePath) held() int { return 0 }

// newSplicePath is nil unless both ends are TCP sockets of the kernel.
func newSplicePath(src, dst Conn) path {
	s, ok := Beneath[*Socket](src)
	if !ok || !s.tcp {
		return nil
	}
	d, ok := Beneath[*Socket](dst)
	if !ok || !d.tcp {
		return nil
	}
	return &splicePath{s, d}
}

func (p *splicePath) move(count func(int)) (readErr, writeErr error) {
	pipes.enter()
	defer pipes.leave()
	in, out := spliceIn{}, spliceOut{count: count}
	in.try, out.try = in.fill, out.drain // so that a turn makes no closure
	for {
		if err := p.src.raw.Read(in.try); err != nil {
			return err, nil
		}
		switch {
		case in.err != nil:
			return wrapKernel(in.err), nil
		case in.chunk != nil:
			n := len(in.chunk.Data)
			if err := p.dst.WriteChunk(in.chunk); err != nil {
				return nil, err
			}
			count(n)
		case in.n == 0:
			return endOfInput(p.src.endOfInput()), nil
		default:
			if err := p.empty(&in, &out); err != nil {
				return nil, err
			}
		}
	}
}

// empty moves what is in the pipe to the destination, all of it, and gives the
// pipe back.
func (p *splicePath) empty(in *spliceIn, out *spliceOut) error {
	out.pipe, out.left, out.err = in.pipe, in.n, nil
	err := p.dst.raw.Write(out.try)
	if err == nil {
		err = out.err
	}
	if err != nil {
		pipes.discard(in.pipe)
		return wrapKernel(err)
	}
	pipes.giveBack(in.pipe)
	return nil
}

// spliceIn is one turn's reading: bytes in a pipe, or in a chunk, or an error,
// or n 0 at the end.
type spliceIn struct {
	try   func(fd uintptr) bool
	pipe  *pipe  // of which n bytes are the caller's to move
	chunk *Chunk // the caller's, where there was no pipe
	n     int
	err   error
}

// fill is try: false means wait, holding nothing.
func (in *spliceIn) fill(fd uintptr) bool {
	in.pipe, in.chunk = pipes.borrow(), nil
	if in.pipe == nil {
		return in.fillChunk(fd)
	}
	in.n, in.err = spliceNow(fd, uintptr(in.pipe.w), pipeLarge)
	if in.err == nil && in.n > 0 {
		return true
	}
	pipes.giveBack(in.pipe)
	in.pipe = nil
	if atMark(fd) {
		return in.fillChunk(fd)
	}
	return in.err != unix.EAGAIN
}

// atMark says that an urgent byte (RFC 6093) is next. splice stops before it
// for good: it waits though more has come, and after a FIN it says end. A read
// steps over it.
func atMark(fd uintptr) bool {
	at, err := unix.IoctlGetInt(int(fd), unix.SIOCATMARK)
	return err == nil && at != 0
}

func (in *spliceIn) fillChunk(fd uintptr) bool {
	r := chunkReader{}
	if !r.read(fd) {
		return false
	}
	in.n, in.err = r.n, r.err
	if r.err != nil || r.n == 0 {
		r.chunk.Release()
		return true
	}
	in.chunk = r.chunk
	in.chunk.Data = in.chunk.Space()[:r.n]
	return true
}

// spliceOut is one turn's writing.
type spliceOut struct {
	try   func(fd uintptr) bool
	count func(int)
	pipe  *pipe
	left  int
	err   error
}

// drain is try: false means that the socket takes no more for now.
func (out *spliceOut) drain(fd uintptr) bool {
	for out.left > 0 {
		n, err := spliceNow(uintptr(out.pipe.r), fd, out.left)
		switch {
		case err == unix.EAGAIN:
			return false
		case err != nil:
			out.err = err
			return true
		case n == 0:
			out.err = io.ErrUnexpectedEOF // the pipe has bytes: this cannot be
			return true
		}
		out.left -= n
		out.count(n)
	}
	return true
}
