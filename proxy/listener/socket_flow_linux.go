package listener

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"culvert/proxy/network"

	"golang.org/x/sys/unix"
)

// socketFlow is a kernel connection as a flow. The kernel has answered the SYN
// long ago: Accept has nothing to say, and Reject is RST.
type socketFlow struct {
	info   *network.StreamInfo
	sock   *network.Socket
	ctx    context.Context // ends when the peer resets, and when the flow is over
	cancel context.CancelCauseFunc

	// owned by the goroutine that serves the flow
	watch    chan struct{} // closed when the watcher has ended; nil: none runs
	answered bool
	rejected error
}

func newSocketFlow(ctx context.Context, c net.Conn, id uint64) (*socketFlow, error) {
	sock, err := network.NewSocket(c)
	if err != nil {
		return nil, err
	}
	f := &socketFlow{info: network.NewStreamInfo(id), sock: sock}
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	f.info.RemoteAddress, f.info.LocalAddress = network.AddressOf(c.RemoteAddr()), network.AddressOf(c.LocalAddr())
	f.info.DirectRemoteAddress, f.info.DirectLocalAddress = f.info.RemoteAddress, f.info.LocalAddress
	return f, nil
}

// Info implements network.Flow.
func (f *socketFlow) Info() *network.StreamInfo { return f.info }

// SyscallConn is the socket, for whoever asks the kernel about it without an
// answer to the flow.
func (f *socketFlow) SyscallConn() (syscall.RawConn, error) { return f.sock.SyscallConn() }

// Context implements network.Flow. Who asks for it wants to know when the peer
// gives up: from then until the answer somebody watches.
func (f *socketFlow) Context() context.Context {
	if !f.answered && f.rejected == nil {
		f.startWatch()
	}
	return f.ctx
}

// Accept implements network.Flow.
func (f *socketFlow) Accept(context.Context) (network.Conn, error) {
	if f.rejected != nil {
		return nil, f.rejected
	}
	if !f.answered {
		f.stopWatch()
		if f.ctx.Err() != nil {
			return nil, context.Cause(f.ctx)
		}
		f.answered = true
		f.info.Mark(network.StepAccepted)
	}
	return f.sock, nil
}

// Reject implements network.Flow.
func (f *socketFlow) Reject(cause error) {
	if f.answered || f.rejected != nil {
		return
	}
	f.stopWatch()
	f.rejected = cause
	if f.info.Cause == nil {
		f.info.Fail(cause)
	}
	f.info.Mark(network.StepRejected)
	f.sock.Abort(cause)
}

// over ends the flow: what nobody answered or closed is reset.
func (f *socketFlow) over() {
	f.stopWatch()
	f.sock.Abort(errOver)
	f.cancel(errOver)
}

// errPeerGone is a peer that left before it was answered.
var errPeerGone = network.WithReason(network.ReasonCanceled, errors.New("downstream reset the connection"))

// watchPeer waits until the peer has reset the connection. It reads nothing: a
// peer that has sent its request and FIN still waits for the answer.
func (f *socketFlow) watchPeer(done chan<- struct{}) {
	defer close(done)
	raw, err := f.sock.SyscallConn()
	if err != nil {
		return
	}
	gone := false
	_ = raw.Read(func(fd uintptr) bool { // called again at each event
		gone = isReset(int(fd))
		return gone
	})
	if gone {
		f.cancel(errPeerGone)
	}
}

// tcpClose is TCP_CLOSE of the kernel's enum: where a socket is after RST.
const tcpClose = 7

func isReset(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil { // no TCP: look whether anything can still be sent
		fds := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(fds, 0)
		return err == nil && n > 0 && fds[0].Revents&unix.POLLERR != 0
	}
	return info.State == tcpClose
}

func (f *socketFlow) startWatch() {
	if f.watch == nil {
		f.watch = make(chan struct{})
		go f.watchPeer(f.watch) // ended and awaited by stopWatch
	}
}

func (f *socketFlow) stopWatch() {
	if f.watch == nil {
		return
	}
	_ = f.sock.SetReadDeadline(time.Unix(1, 0)) // wakes the watcher
	<-f.watch
	f.watch = nil
	_ = f.sock.SetReadDeadline(time.Time{})
}
