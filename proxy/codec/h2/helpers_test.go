package h2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
)

// testTime is how long a test waits for what should happen at once.
const testTime = time.Minute

// socketPair is both ends of a loopback TCP connection.
func socketPair(t testing.TB) (a, b network.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return socket(t, dialed), socket(t, accepted)
}

func socket(t testing.TB, c net.Conn) network.Conn {
	t.Helper()
	s, err := network.NewSocket(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// client runs a client on nc until the test is over.
func client(t testing.TB, nc network.Conn, cfg h2.Config) *h2.ClientConn {
	t.Helper()
	cc := h2.NewClientConn(nc, cfg)
	var wg sync.WaitGroup
	wg.Go(func() { _ = cc.Run(context.Background()) }) // ends by Close
	t.Cleanup(func() {
		cc.Close(errTestOver)
		wg.Wait()
	})
	return cc
}

var errTestOver = errors.New("test is over")

// server runs a server on nc; the function waits for its end and returns why.
func server(t testing.TB, ctx context.Context, nc network.Conn, cfg h2.Config, h codec.ServerHandler) func() error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- h2.ServeConn(ctx, nc, cfg, h) }() // ends with nc, awaited below
	wait := sync.OnceValue(func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(testTime):
			nc.Abort(errTestOver)
			return errors.Join(errors.New("server did not end"), <-done)
		}
	})
	t.Cleanup(func() {
		nc.Abort(errTestOver)
		_ = wait()
	})
	return wait
}

// pair is a client and a server of ours, connected.
func pair(t testing.TB, ccfg, scfg h2.Config, h codec.ServerHandler) *h2.ClientConn {
	t.Helper()
	a, b := socketPair(t)
	server(t, context.Background(), b, scfg, h)
	return client(t, a, ccfg)
}

func connectTo(authority string) *codec.Request {
	return &codec.Request{Method: "CONNECT", Authority: authority}
}

// open opens a CONNECT stream and expects 200.
func open(t testing.TB, cc *h2.ClientConn) codec.ClientStream {
	t.Helper()
	st, err := cc.OpenStream(context.Background(), connectTo("example.com:443"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	res, err := st.ReadResponse(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != 200 {
		t.Fatalf("status %d", res.Status)
	}
	return st
}

// accept answers 200.
func accept(t testing.TB, s codec.ServerStream) {
	if err := s.WriteResponse(&codec.Response{Status: 200}); err != nil {
		t.Errorf("WriteResponse: %v", err)
	}
}

// handed is a stream that the test has in hand; its handler returns when done is
// closed or the test is over.
type handed struct {
	codec.ServerStream
	done chan struct{}
}

// handOver is a handler that answers 200 and hands the stream to the test. It
// is made before the server, so that its streams end first.
func handOver(t testing.TB) (codec.ServerHandler, <-chan *handed) {
	ch := make(chan *handed, 4096)
	return func(ctx context.Context, s codec.ServerStream) {
		_ = s.WriteResponse(&codec.Response{Status: 200}) // the test may have reset it already
		h := &handed{s, make(chan struct{})}
		ch <- h
		select {
		case <-h.done:
		case <-t.Context().Done():
		}
	}, ch
}

// next waits for the next stream.
func next[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(testTime):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// random is n reproducible bytes.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = src.Read(b)
	return b
}

// expectRead reads want and then, if end is set, EOF.
func expectRead(t testing.TB, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil {
		t.Fatalf("after %d of %d bytes: %v", n, len(want), err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("bytes differ")
	}
}

func expectEOF(t testing.TB, r io.Reader) {
	t.Helper()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("Read = %d, %v; want EOF", n, err)
	}
}

// expectReset reads until the stream's reset and returns it.
func expectReset(t testing.TB, r io.Reader) *network.ResetError {
	t.Helper()
	_, err := io.Copy(io.Discard, r)
	var re *network.ResetError
	if !errors.As(err, &re) {
		t.Fatalf("Read ended with %v, want a reset", err)
	}
	return re
}

func write(t testing.TB, w io.Writer, p []byte) {
	t.Helper()
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
}
