package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// reexecFD is the descriptor by which a process started with Reexec talks to
// the one that started it: the first after the standard three.
const reexecFD = 3

// Reexec starts this program again inside new user, network and, if asked,
// mount namespaces, where it has every capability over what it makes: an
// ordinary user's way to TUNs and namespaces.
type Reexec struct {
	// Args are the arguments, without the program's name. They lead to a command
	// that calls JoinParent.
	Args []string
	// Env is the environment; nil for this process's.
	Env            []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// KeepUID shows the caller's own user and group id inside, with capabilities
	// kept across exec; else the caller is root inside. Outside it is the caller
	// either way.
	KeepUID bool
	// Mount gives it a mount namespace as well.
	Mount bool
}

// Inner is a process started by Reexec. It is killed when this process ends,
// however that happens.
type Inner struct {
	// immutable once Start has returned
	process *os.Process
	gate    *os.File // our end of the connection; at EOF the process has ended
	done    chan struct{}
	// valid once done is closed
	err error
}

// Start starts the process and returns once it has called Ready. If it ends or
// calls Failed before, or ctx ends, that is the error, and no process remains.
// A refusal by the machine is an *Obstacle.
func (r Reexec) Start(ctx context.Context) (*Inner, error) {
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	cmd := r.command()
	cmd.ExtraFiles = []*os.File{theirs}
	in := &Inner{gate: ours, done: make(chan struct{})}
	started := make(chan error, 1)
	go in.run(cmd, started) // ends with the process, seen by Wait
	if err := <-started; err != nil {
		<-in.done
		_ = ours.Close()
		return nil, ExplainUserNS(err)
	}
	_ = theirs.Close() // so that the process's end is EOF to us
	if err := in.awaitReady(ctx); err != nil {
		_ = in.process.Kill()
		_ = in.Wait() // how it ended is of our doing
		return nil, err
	}
	return in, nil
}

func (r Reexec) command() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", r.Args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = r.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r.Stdin, r.Stdout, r.Stderr
	uid, gid := 0, 0
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	if r.KeepUID {
		uid, gid = os.Geteuid(), os.Getegid()
		attr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_NET_BIND_SERVICE,
			unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE}
	}
	if r.Mount {
		attr.Cloneflags |= unix.CLONE_NEWNS
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: os.Getegid(), Size: 1}}
	cmd.SysProcAttr = attr
	return cmd
}

// run holds one thread for as long as the process lives, because the kernel
// sends the parent-death signal when the thread that forked ends, not the
// process.
func (in *Inner) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(in.done)
	err := cmd.Start()
	if err == nil {
		in.process = cmd.Process
	}
	started <- err
	if err != nil {
		in.err = err
		return
	}
	in.err = cmd.Wait()
}

// awaitReady reads the process's one message: empty for ready, else why not.
func (in *Inner) awaitReady(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = in.gate.SetReadDeadline(past) })
	defer stop()
	buf := make([]byte, maxMessage)
	n, err := in.gate.Read(buf)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("start in namespaces: %w", context.Cause(ctx))
	case errors.Is(err, io.EOF):
		<-in.done
		return fmt.Errorf("start in namespaces: ended before it was ready: %w", ended(in.err))
	case err != nil:
		return fmt.Errorf("start in namespaces: %w", err)
	case !bytes.HasPrefix(buf[:n], readyMessage):
		return fmt.Errorf("start in namespaces: %s", buf[:n])
	}
	return nil
}

func ended(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// PID is the process's id, seen from outside.
func (in *Inner) PID() int { return in.process.Pid }

// Wait returns when the process has ended, with its *exec.ExitError if it did
// not end well.
func (in *Inner) Wait() error {
	<-in.done
	_ = in.gate.Close()
	return in.err
}

// Done is closed when the process has ended.
func (in *Inner) Done() <-chan struct{} { return in.done }

// Stop asks the process to end, by ending its Parent.Context, and kills it if
// ctx ends first. It returns what Wait returns.
func (in *Inner) Stop(ctx context.Context) error {
	_ = in.gate.Close()
	select {
	case <-in.done:
	case <-ctx.Done():
		_ = in.process.Kill() // an error says that it has ended just now
	}
	return in.Wait()
}

// Signal sends sig to the process; os.ErrProcessDone if it has ended.
func (in *Inner) Signal(sig os.Signal) error { return in.process.Signal(sig) }

// socketpair is a pair of connected sockets that keep messages apart.
func socketpair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	// Only ours goes to the poller: theirs shares its flags with the child.
	if err := unix.SetNonblock(fds[0], true); err != nil {
		_ = unix.Close(fds[0])
		_ = unix.Close(fds[1])
		return nil, nil, os.NewSyscallError("set nonblocking", err)
	}
	return os.NewFile(uintptr(fds[0]), "inner"), os.NewFile(uintptr(fds[1]), "parent"), nil
}
