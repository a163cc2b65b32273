package hostile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
	"culvert/test/peer"
	"culvert/test/topology"
)

// bystanderArg makes this test binary a bystander: a client that means well, on
// a connection of its own, with a tunnel through the victim to an echo. It is a
// process of its own, which attackers and their origins do not slow.
const bystanderArg = "hostile-bystander"

// bystander is that process, seen from the test: it is given a time, pings for
// so long, and answers with its p99.
type bystander struct {
	t   testing.TB
	cmd *topology.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func newBystander(t testing.TB, g *gateway) *bystander {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := g.host.Command(self, bystanderArg)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &bystander{t, cmd, in, bufio.NewScanner(out)}
}

// leave ends it.
func (b *bystander) leave() {
	_ = b.in.Close()
	_ = b.cmd.Wait() // it says itself what is wrong
}

// ping pings until d has passed, once at least, and is the p99 of the round trips.
func (b *bystander) ping(d time.Duration) time.Duration {
	b.t.Helper()
	b.begin(d)
	return b.end()
}

func (b *bystander) begin(d time.Duration) {
	b.t.Helper()
	if _, err := fmt.Fprintln(b.in, int64(d)); err != nil {
		b.t.Fatalf("bystander: %v", err)
	}
}

func (b *bystander) end() time.Duration {
	b.t.Helper()
	if !b.out.Scan() {
		b.t.Fatal("the bystander has ended")
	}
	ns, err := strconv.ParseInt(b.out.Text(), 10, 64)
	if err != nil {
		b.t.Fatalf("bystander: %v", err)
	}
	return time.Duration(ns)
}

// beBystander is the process, until its standard input ends.
func beBystander() int {
	if err := standBy(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bystander:", err)
		return 1
	}
	return 0
}

var errBystanderDone = errors.New("bystander is done")

func standBy(in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ln, err := net.Listen("tcp", bystanderEcho)
	if err != nil {
		return err
	}
	go func() { // ends with the process
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _ = peer.Echo()(ctx, c) }()
		}
	}()
	nc, err := net.Dial("tcp", gatewayAddress)
	if err != nil {
		return err
	}
	sock, err := network.NewSocket(nc)
	if err != nil {
		return err
	}
	cc := h2.NewClientConn(sock, h2.Config{})
	var wg sync.WaitGroup
	wg.Go(func() { _ = cc.Run(ctx) }) // ends by Close
	defer wg.Wait()
	defer cc.Close(errBystanderDone)
	st, err := cc.OpenStream(ctx, &codec.Request{Method: "CONNECT", Authority: bystanderEcho})
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	if res, err := st.ReadResponse(ctx); err != nil || !res.Success() {
		return fmt.Errorf("tunnel: %+v, %w", res, err)
	}
	for orders := bufio.NewScanner(in); orders.Scan(); {
		ns, err := strconv.ParseInt(orders.Text(), 10, 64)
		if err != nil {
			return err
		}
		all, err := pingFor(st, time.Duration(ns))
		if err != nil {
			return err
		}
		fmt.Fprintln(out, int64(all.quantile(0.99)))
	}
	return nil
}

// pings are round trips of 64 bytes, one after the other.
type pings []time.Duration

func pingFor(st codec.ClientStream, d time.Duration) (pings, error) {
	var all pings
	message := make([]byte, 64)
	for end := time.Now().Add(d); ; {
		began := time.Now()
		if _, err := st.Write(message); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(st, message); err != nil {
			return nil, err
		}
		now := time.Now()
		all = append(all, now.Sub(began))
		if now.After(end) {
			return all, nil
		}
	}
}

// quantile is the q-th part of them from the fastest.
func (p pings) quantile(q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(p))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
