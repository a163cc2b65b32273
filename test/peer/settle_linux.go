package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"culvert/proxy/network"

	"golang.org/x/sys/unix"
)

// SettleAndReset sends the stream, waits until the other end's kernel has
// acknowledged all of it, and resets the connection: a reset throws away only
// what is not sent yet, so every byte must arrive, and then the reset.
func SettleAndReset(send Stream) Handler {
	return func(ctx context.Context, c net.Conn) error {
		defer reset(c)
		if _, err := io.CopyBuffer(onlyWriter{c}, send.Reader(), make([]byte, bufferSize)); err != nil {
			return fmt.Errorf("send %v: %w", send, err)
		}
		return settle(ctx, c)
	}
}

// settle waits until nothing that was written to a TCP connection is
// unacknowledged. Nothing tells, so it asks.
func settle(ctx context.Context, c net.Conn) error {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return fmt.Errorf("%T is no socket", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		var queued int
		var qerr error
		if err := raw.Control(func(fd uintptr) { queued, qerr = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil || qerr != nil {
			return errors.Join(err, qerr)
		}
		if queued == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d bytes unacknowledged: %w", queued, context.Cause(ctx))
		}
	}
}

// ReceiveThenReset receives the whole stream and then a reset, not an end.
func ReceiveThenReset(receive Stream) Handler {
	return func(_ context.Context, c net.Conn) error {
		defer func() { _ = c.Close() }()
		v := receive.Verify()
		_, err := io.CopyBuffer(v, onlyReader{c}, make([]byte, bufferSize))
		if cerr := v.Complete(); cerr != nil {
			return fmt.Errorf("%w, by %w", cerr, orEOF(err))
		}
		return wantReset(err)
	}
}

func wantReset(err error) error {
	if errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return fmt.Errorf("ended by %w, want a reset", orEOF(err))
}

// SendUntilReset sends the stream over and over until the connection is reset,
// and is an error if it ends otherwise.
func SendUntilReset(send Stream) Handler {
	return func(_ context.Context, c net.Conn) error {
		defer func() { _ = c.Close() }()
		for {
			_, err := io.CopyBuffer(onlyWriter{c}, send.Reader(), make([]byte, bufferSize))
			switch {
			case err == nil:
			case network.IsReset(err): // EPIPE: the reset was told to an earlier call
				return nil
			default:
				return wantReset(err)
			}
		}
	}
}
