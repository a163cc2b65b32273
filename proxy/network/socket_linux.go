package network

import (
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is a kernel TCP or unix stream socket as a Conn. Between two of them
// Relay finds the kernel beneath.
type Socket struct {
	net.Conn // *net.TCPConn or *net.UnixConn
	raw      syscall.RawConn
	tcp      bool // a *net.TCPConn

	once   sync.Once
	reader chunkReader // owned by the one goroutine that reads
	writer vectorWriter

	wroteEnd atomic.Bool // our sending direction was ended
}

type streamSocket interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// NewSocket wraps a *net.TCPConn or *net.UnixConn and owns it from then on.
// Nagle's algorithm is already off: package net does that.
func NewSocket(c net.Conn) (*Socket, error) {
	s, ok := c.(streamSocket)
	if !ok {
		return nil, errors.New("not a stream socket: " + c.LocalAddr().Network())
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, err
	}
	sock := &Socket{Conn: c, raw: raw}
	_, sock.tcp = c.(*net.TCPConn)
	sock.reader.try, sock.writer.try = sock.reader.read, sock.writer.write
	return sock, nil
}

// CloseWrite sends FIN. A socket whose peer is already gone has nothing left to
// end.
func (s *Socket) CloseWrite() error {
	s.wroteEnd.Store(true)
	err := s.Conn.(streamSocket).CloseWrite()
	if errors.Is(err, syscall.ENOTCONN) {
		return nil
	}
	return err
}

// Abort sends RST: what is queued unsent is dropped.
func (s *Socket) Abort(cause error) {
	s.once.Do(func() {
		if t, ok := s.Conn.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // fails only on a closed socket
		}
		_ = s.Conn.Close()
	})
}

// Read is net.Conn's, with a reset told as one.
func (s *Socket) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n == 0 && errors.Is(err, io.EOF) {
		err = s.endOfInput()
	}
	return n, err
}

// endOfInput tells FIN from a reset. The kernel reports a reset once, to
// whoever asks first: if that was the writer, the reader finds an EOF. But a
// connection of which we have not ended our side is closed by a reset only.
func (s *Socket) endOfInput() error {
	closed := false
	_ = s.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		closed = err == nil && info.State == tcpClose
	})
	// The order matters: CloseWrite notes that it ends our side before it does.
	if closed && !s.wroteEnd.Load() {
		return &ResetError{Remote: true, Err: syscall.ECONNRESET}
	}
	return io.EOF
}

// tcpClose is TCP_CLOSE of the kernel's enum (net/tcp_states.h).
const tcpClose = 7

// Unsent is the number of bytes the peer has not acknowledged.
func (s *Socket) Unsent() int {
	n := 0
	_ = s.raw.Control(func(fd uintptr) {
		n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	})
	return n
}

// RoundTrip is the shortest one that the kernel has seen in the last minutes: what
// waits in queues lengthens the others.
func (s *Socket) RoundTrip() time.Duration {
	var trip time.Duration
	_ = s.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil && info.Min_rtt != math.MaxUint32 { // else nothing was measured
			trip = time.Duration(info.Min_rtt) * time.Microsecond
		}
	})
	return trip
}

// SyscallConn is the raw socket, for splice and socket options.
func (s *Socket) SyscallConn() (syscall.RawConn, error) { return s.raw, nil }

// wrapKernel gives a reset its type.
func wrapKernel(err error) error {
	if isKernelReset(err) {
		return &ResetError{Remote: true, Err: err}
	}
	return err
}

func isKernelReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
