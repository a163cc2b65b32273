package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"culvert/proxy/network"
)

// relays are the kinds of `bench relay`, each as little as it can be: what they
// do with an accepted connection and where it is to go. They own neither.
var relays = map[string]func(ctx context.Context, near, far *net.TCPConn){
	"splice": func(_ context.Context, near, far *net.TCPConn) { join(near, far, spliced) },
	"copy":   func(_ context.Context, near, far *net.TCPConn) { join(near, far, copied) },
	// What a flow of culvert's ends in, with nothing before it.
	"network": func(ctx context.Context, near, far *net.TCPConn) {
		down, err := network.NewSocket(near)
		if err != nil {
			return
		}
		up, err := network.NewSocket(far)
		if err != nil {
			return
		}
		network.Relay(ctx, down, up, network.RelayOptions{Meter: &network.Meter{}}) // how it ended the application knows
	},
	"socks5": func(_ context.Context, near, far *net.TCPConn) {
		if greetSOCKS5(near) == nil {
			join(near, far, spliced)
		}
	},
}

// relay is `bench relay KIND LISTEN TO`.
func relay(ctx context.Context, args []string) error {
	if len(args) != 3 || relays[args[0]] == nil {
		return errors.New("usage: bench relay splice|copy|network|socks5 LISTEN TO")
	}
	ln, err := net.Listen("tcp", args[1])
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	for {
		near, err := ln.Accept()
		if err != nil {
			return nil
		}
		go func() { // ends with its connection
			defer near.Close()
			far, err := net.Dial("tcp", args[2])
			if err != nil {
				return
			}
			defer far.Close()
			relays[args[0]](ctx, near.(*net.TCPConn), far.(*net.TCPConn))
		}()
	}
}

// join moves bytes both ways until both have ended.
func join(a, b *net.TCPConn, move func(to, from *net.TCPConn)) {
	one := func(to, from *net.TCPConn) {
		move(to, from)
		_ = to.CloseWrite()
	}
	var wg sync.WaitGroup
	wg.Go(func() { one(a, b) }) // ends with what it reads
	one(b, a)
	wg.Wait()
}

// spliced: package net splices where it can see two TCP connections.
func spliced(to, from *net.TCPConn) { _, _ = io.Copy(to, from) }

func copied(to, from *net.TCPConn) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 128<<10))
}

// greetSOCKS5 says to everybody that they are where they want to be (RFC 1928):
// without authentication, connected.
func greetSOCKS5(c *net.TCPConn) error {
	r := bufio.NewReader(c)
	var head [2]byte // version, number of methods
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	if _, err := r.Discard(int(head[1])); err != nil {
		return err
	}
	if _, err := c.Write([]byte{5, 0}); err != nil {
		return err
	}
	var request [4]byte // version, command, reserved, kind of address
	if _, err := io.ReadFull(r, request[:]); err != nil {
		return err
	}
	if request[1] != 1 || request[3] != 1 {
		return fmt.Errorf("SOCKS5: command %d to an address of kind %d: only CONNECT to IPv4 is served", request[1], request[3])
	}
	if _, err := r.Discard(net.IPv4len + 2); err != nil {
		return err
	}
	if r.Buffered() > 0 { // nobody speaks before the answer
		return fmt.Errorf("SOCKS5: %d bytes follow the request at once", r.Buffered())
	}
	_, err := c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return err
}
