package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"sync"
	"syscall"

	"culvert/bench/load"

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

// relay is `bench relay splice|copy LISTEN TO`: as little as a relay can be.
func relay(ctx context.Context, args []string) error {
	if len(args) != 3 || args[0] != "splice" && args[0] != "copy" {
		return errors.New("usage: bench relay splice|copy LISTEN TO")
	}
	ln, err := net.Listen("tcp", args[1])
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	for {
		c, err := ln.Accept()
		if err != nil {
			return nil
		}
		go func() { // ends with its connection
			defer c.Close()
			far, err := net.Dial("tcp", args[2])
			if err != nil {
				return
			}
			defer far.Close()
			join(c.(*net.TCPConn), far.(*net.TCPConn), args[0] == "splice")
		}()
	}
}

// join moves bytes both ways until both have ended. Package net splices where it
// can see two TCP connections.
func join(a, b *net.TCPConn, splice bool) {
	one := func(to, from *net.TCPConn) {
		if splice {
			_, _ = io.Copy(to, from)
		} else {
			_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 128<<10))
		}
		_ = to.CloseWrite()
	}
	var wg sync.WaitGroup
	wg.Go(func() { one(a, b) }) // ends with what it reads
	one(b, a)
	wg.Wait()
}
