package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"syscall"

	"culvert/bench/load"
	"culvert/bench/matrix"

	"golang.org/x/sys/unix"
)

// serveOrigin is `bench origin ADDRESS`: the far end of every load.
func serveOrigin(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: bench origin ADDRESS")
	}
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	load.Origin(ctx, ln)
	return nil
}

// applyLoad is `bench load [flags] ADDRESS`: applications, and the result as
// JSON.
func applyLoad(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench load", flag.ContinueOnError)
	var l load.Load
	flags.Func("kind", "what applications do", func(s string) error { l.Kind = load.Kind(s); return nil })
	flags.IntVar(&l.Streams, "streams", 1, "how many applications there are")
	flags.DurationVar(&l.Duration, "duration", 0, "how long they go on")
	flags.IntVar(&l.Size, "size", 0, "how many bytes an answer has")
	device := flags.String("device", "", "what their sockets are bound to")
	connect := flags.String("connect", "", "what they ask a proxy for")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if *device == "" {
			return nil
		}
		return errors.Join(c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), *device) }), err)
	}}
	l.Hold = func(ctx context.Context) {
		fmt.Fprintln(out, matrix.Held)
		<-ctx.Done() // told so by a signal
	}
	result, err := l.Run(ctx, func(ctx context.Context) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, "tcp", flags.Arg(0))
		if err != nil || *connect == "" {
			return c, err
		}
		return load.ThroughProxy(ctx, c, *connect)
	})
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}
