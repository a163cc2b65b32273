package h1_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/network"
)

// testTime is how long a test waits for what should happen at once.
const testTime = time.Minute

var errTestOver = errors.New("test is over")

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

// server runs a server on nc; the function waits for its end and returns why.
func server(t testing.TB, ctx context.Context, nc network.Conn, cfg h1.Config, h codec.ServerHandler) func() error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- h1.ServeConn(ctx, nc, cfg, h) }() // ends with nc, awaited below
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

// serve runs a server and returns the client's end of its connection.
func serve(t testing.TB, cfg h1.Config, h codec.ServerHandler) (network.Conn, func() error) {
	t.Helper()
	a, b := socketPair(t)
	if err := a.SetDeadline(time.Now().Add(testTime)); err != nil {
		t.Fatal(err)
	}
	return a, server(t, context.Background(), b, cfg, h)
}

// client runs a client on nc until the test is over.
func client(t testing.TB, nc network.Conn, cfg h1.Config) (*h1.ClientConn, func() error) {
	t.Helper()
	cc := h1.NewClientConn(nc, cfg)
	done := make(chan error, 1)
	go func() { done <- cc.Run(context.Background()) }() // ends by Close, or with nc
	wait := sync.OnceValue(func() error { return <-done })
	t.Cleanup(func() {
		cc.Close(errTestOver)
		_ = wait()
	})
	return cc, wait
}

// script is the far end of a client under test: it reads a request head and
// then does what it is told.
type script struct {
	network.Conn
	r *bufio.Reader
	t testing.TB
}

func newScript(t testing.TB, c network.Conn) *script {
	return &script{c, bufio.NewReader(c), t}
}

// head reads lines up to an empty one.
func (s *script) head() string {
	s.t.Helper()
	var b strings.Builder
	for {
		line, err := s.r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			s.t.Errorf("head %q: %v", b.String(), err)
			return b.String()
		}
		if line == "\r\n" {
			return b.String()
		}
	}
}

func (s *script) send(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s, text); err != nil {
		s.t.Errorf("send: %v", err)
	}
}

// read reads exactly len(want) bytes.
func (s *script) want(want string) {
	s.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(s.r, got)
	if string(got[:n]) != want {
		s.t.Errorf("got %q, %v, want %q", got[:n], err, want)
	}
}

// wantEnd expects the peer's FIN.
func (s *script) wantEnd() {
	s.t.Helper()
	if rest, err := io.ReadAll(s.r); err != nil || len(rest) > 0 {
		s.t.Errorf("got %q, %v, want the end", rest, err)
	}
}

func get(path string) *codec.Request {
	return &codec.Request{Method: "GET", Authority: "example.com", Path: path, HasPath: true, EndStream: true}
}

func connectTo(authority string) *codec.Request {
	return &codec.Request{Method: "CONNECT", Authority: authority}
}

// reply answers with a body.
func reply(t testing.TB, s codec.ServerStream, status int, body string) {
	t.Helper()
	if err := s.WriteResponse(&codec.Response{Status: status, EndStream: body == ""}); err != nil {
		t.Errorf("WriteResponse: %v", err)
		return
	}
	if body == "" {
		return
	}
	if _, err := io.WriteString(s, body); err != nil {
		t.Errorf("Write: %v", err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Errorf("CloseWrite: %v", err)
	}
}

// echo answers an ordinary request with its own body, and a tunnel with its
// payload.
func echo(t testing.TB) codec.ServerHandler {
	return func(_ context.Context, s codec.ServerStream) {
		defer s.Close()
		res := &codec.Response{Status: 200}
		if s.Request().Protocol != "" {
			res.Status = 101
		}
		if err := s.WriteResponse(res); err != nil {
			t.Errorf("WriteResponse: %v", err)
			return
		}
		if readErr, writeErr := codec.CopyBody(s, s, s.Trailers, func(int) {}); readErr != nil || writeErr != nil {
			t.Logf("echo: %v, %v", readErr, writeErr)
		}
	}
}

// fields are field lines of names and values in turn.
func fields(nv ...string) codec.Fields {
	var f codec.Fields
	for i := 0; i < len(nv); i += 2 {
		f.Add(nv[i], nv[i+1])
	}
	return f
}
