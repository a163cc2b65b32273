package h1_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/network"
)

// slowPair is a connection whose server's kernel takes little, so that the rest
// waits at the client.
func slowPair(t *testing.T) (client *net.TCPConn, srv network.Conn) {
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
	if err := errors.Join(accepted.(*net.TCPConn).SetReadBuffer(128<<10), dialed.(*net.TCPConn).SetWriteBuffer(4<<20)); err != nil {
		t.Fatal(err)
	}
	return dialed.(*net.TCPConn), socket(t, accepted)
}

// hardCloser resets when it is closed, as TLS does.
type hardCloser struct{ network.Conn }

func (c hardCloser) Close() error { c.Abort(net.ErrClosed); return nil }

func (c hardCloser) Unwrap() network.Conn { return c.Conn }

// tail is the end of a tunnel that the server does not read while it is told to
// wait.
var tail = bytes.Repeat([]byte("x"), 1<<20)

// tunnelled opens a tunnel that the server has ended, and ends it with much
// under way.
func tunnelled(t *testing.T, cc *h1.ClientConn, far *script) {
	t.Helper()
	st, err := cc.OpenStream(context.Background(), tunnelRequest())
	if err != nil {
		t.Fatal(err)
	}
	far.head()
	far.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	if _, err := st.ReadResponse(context.Background()); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(st); err != nil || len(rest) > 0 {
		t.Fatalf("got %q, %v", rest, err)
	}
	if _, err := st.Write(tail); err != nil {
		t.Fatal(err)
	}
	if err := st.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

func tunnelRequest() *codec.Request {
	return &codec.Request{Method: "POST", Authority: "example.com", Path: "/", HasPath: true, Repeatable: true}
}

// wantTail reads the tunnel's bytes and its end.
func (s *script) wantTail() {
	s.t.Helper()
	got := make([]byte, 0, len(tail))
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			s.t.Fatalf("after %d of %d bytes: %v", len(got), len(tail), err)
		}
		size := 0
		for _, d := range strings.TrimSpace(line) {
			size = size*16 + strings.IndexRune("0123456789abcdef", d)
		}
		chunk := make([]byte, size+2)
		if _, err := io.ReadFull(s.r, chunk); err != nil {
			s.t.Fatalf("after %d of %d bytes: %v", len(got), len(tail), err)
		}
		if size == 0 {
			break
		}
		got = append(got, chunk[:size]...)
	}
	if !bytes.Equal(got, tail) {
		s.t.Errorf("%d bytes, want %d", len(got), len(tail))
	}
}

// A tunnel that was whole arrives whole, although the next one on its connection
// is given up before there is an answer.
func TestWithdrawnRequestLeavesTheTailAlone(t *testing.T) {
	for name, leave := range map[string]func(codec.ClientStream){
		"reset": func(s codec.ClientStream) { s.Reset(codec.CodeCancel, errTestOver); _ = s.Close() },
		"close": func(s codec.ClientStream) { _ = s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			near, srv := slowPair(t)
			cc, wait := client(t, socket(t, near), h1.Config{})
			far := newScript(t, srv)
			tunnelled(t, cc, far)
			st, err := cc.OpenStream(context.Background(), tunnelRequest())
			if err != nil {
				t.Fatal(err)
			}
			leave(st)
			if cc.CanOpen() {
				t.Error("the connection takes another request")
			}
			far.wantTail()
			far.head()
			if _, err := far.r.ReadByte(); !network.IsReset(err) {
				t.Errorf("the request that was given up ended with %v", err)
			}
			if err := wait(); err == nil {
				t.Error("the connection ended in order")
			}
		})
	}
}

// Nor does it matter that the connection is not needed any more.
func TestDrainLeavesTheTailAlone(t *testing.T) {
	near, srv := slowPair(t)
	cc, wait := client(t, hardCloser{socket(t, near)}, h1.Config{})
	far := newScript(t, srv)
	tunnelled(t, cc, far)
	cc.Drain()
	far.wantTail()
	if err := wait(); err != nil {
		t.Error(err)
	}
}

// Closing is at once, whatever is under way.
func TestCloseDoesNotWaitForTheTail(t *testing.T) {
	near, srv := slowPair(t)
	cc, wait := client(t, hardCloser{socket(t, near)}, h1.Config{})
	far := newScript(t, srv)
	tunnelled(t, cc, far)
	cc.Drain()
	cc.Close(errTestOver)
	if _, err := io.Copy(io.Discard, far); !network.IsReset(err) {
		t.Errorf("the server sees %v", err)
	}
	_ = wait()
}
