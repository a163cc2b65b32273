package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxMessage bounds what a starting process says of itself, in bytes.
const maxMessage = 4096

// readyMessage begins with a byte that no error text has.
var readyMessage = []byte{0, 'r'}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// errParentGone is the cause of a Parent's context.
var errParentGone = errors.New("the process that started this one has ended or asked it to")

// Parent is, seen from inside, the process that started this one with Reexec.
type Parent struct {
	gate   *os.File
	ctx    context.Context // ends with the parent
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when watch has returned
}

// JoinParent takes up the connection to the process that started this one. It
// is called once, early, by the command that Reexec.Args lead to; a process
// that was started otherwise gets an error. The context returned by
// [Parent.Context] descends from ctx.
func JoinParent(ctx context.Context) (*Parent, error) {
	kind, err := unix.GetsockoptInt(reexecFD, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return nil, errors.New("this command is not for use by hand: it was not started inside namespaces")
	}
	unix.CloseOnExec(reexecFD)
	if err := unix.SetNonblock(reexecFD, true); err != nil {
		return nil, os.NewSyscallError("set nonblocking", err)
	}
	p := &Parent{gate: os.NewFile(reexecFD, "parent"), done: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	go p.watch() // ends with the parent, or at Close
	return p, nil
}

// watch waits for the parent's end of the connection to close.
func (p *Parent) watch() {
	defer close(p.done)
	_, _ = p.gate.Read(make([]byte, 1))
	p.cancel(errParentGone)
}

// Context ends when the parent calls Stop. (When the parent dies, the kernel
// kills this process at once.)
func (p *Parent) Context() context.Context { return p.ctx }

// Ready makes the parent's Start return.
func (p *Parent) Ready() error { return p.send(readyMessage) }

// Failed makes the parent's Start return an error that says what cause says.
func (p *Parent) Failed(cause error) error {
	msg := []byte(cause.Error())
	if len(msg) > maxMessage {
		msg = msg[:maxMessage]
	}
	return p.send(msg)
}

func (p *Parent) send(msg []byte) error {
	if _, err := p.gate.Write(msg); err != nil {
		return fmt.Errorf("tell the parent process: %w", err)
	}
	return nil
}

// Close ends the connection and the context.
func (p *Parent) Close() error {
	p.cancel(context.Canceled)
	_ = p.gate.SetReadDeadline(past)
	<-p.done
	return p.gate.Close()
}
