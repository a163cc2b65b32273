package network

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"culvert/test/ports"

	"golang.org/x/sys/unix"
)

// socketPair is two ends of one loopback TCP connection: ours as a Socket, the
// peer's as the kernel gives it.
func socketPair(t *testing.T) (*Socket, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSocket(ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); peer.Close() })
	return s, peer.(*net.TCPConn)
}

func TestSocketAbortIsAReset(t *testing.T) {
	s, peer := socketPair(t)
	s.Abort(errors.New("test"))
	s.Abort(errors.New("twice"))
	_, err := peer.Read(make([]byte, 1))
	if !IsReset(err) {
		t.Errorf("peer read: %v, want a reset", err)
	}
	if _, err := s.ReadChunk(); err == nil {
		t.Error("ReadChunk after Abort: no error")
	}
}

func TestSocketReadChunkEnds(t *testing.T) {
	s, peer := socketPair(t)
	if _, err := peer.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	c, err := s.ReadChunk()
	if err != nil || string(c.Data) != "hello" {
		t.Fatalf("ReadChunk: %v %v", c, err)
	}
	c.Release()
	peer.CloseWrite()
	if _, err := s.ReadChunk(); !errors.Is(err, io.EOF) {
		t.Errorf("after FIN: %v, want EOF", err)
	}

	s, peer = socketPair(t)
	peer.SetLinger(0)
	peer.Close()
	if _, err := s.ReadChunk(); !IsReset(err) {
		t.Errorf("after RST: %v, want a reset", err)
	}
}

func TestSocketUnsent(t *testing.T) {
	s, peer := socketPair(t)
	give := time.Now().Add(time.Minute)
	for full := false; !full || s.Unsent() == 0; { // until both socket buffers are full
		if time.Now().After(give) {
			t.Fatal("Unsent is 0 with a full send buffer")
		}
		if err := s.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		c := NewChunk(ChunkLarge)
		c.Data = c.Space()
		full = s.WriteChunk(c) != nil
	}
	go io.Copy(io.Discard, peer) // ends when the test closes s
	for deadline := time.Now().Add(time.Minute); s.Unsent() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("Unsent never reached 0")
		}
	}
}

func TestRoundTrip(t *testing.T) {
	s, _ := socketPair(t)
	trip := RoundTrip(&peekedConn{Conn: s, ahead: []byte("x")}) // the kernel has measured the handshake
	if trip <= 0 || trip != s.RoundTrip() {
		t.Errorf("round trip %v, the socket's %v", trip, s.RoundTrip())
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	f := os.NewFile(uintptr(fds[0]), "pair")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if here, err := NewSocket(c); err != nil || RoundTrip(here) != 0 {
		t.Errorf("a unix socket: %v, %v", RoundTrip(here), err)
	}
}

func TestReasonOfKernelErrors(t *testing.T) {
	addr := ports.Closed(t)
	_, refused := net.Dial("tcp", addr)
	expired, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer cancel()
	_, timeout := (&net.Dialer{}).DialContext(expired, "tcp", addr)
	for _, c := range []struct {
		name string
		err  error
		want Reason
	}{
		{"refused", refused, ReasonConnectionRefused},
		{"timeout", timeout, ReasonTimeout},
		{"dns", &net.DNSError{Err: "no such host", Name: "x"}, ReasonDNS},
		{"typed wins over what it wraps", WithReason(ReasonGateway, refused), ReasonGateway},
		{"canceled", context.Canceled, ReasonCanceled},
		{"nil", nil, ReasonUnknown},
	} {
		if got := ReasonFor(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// Every reason that a terminator sends as a token must come back as the same
// verdict, or the application would be told something else than what happened.
func TestReasonSurvivesTheTunnel(t *testing.T) {
	for r := ReasonConnectionRefused; r <= ReasonTimeout; r++ {
		back, ok := ReasonForToken(r.Token())
		if !ok || back.Verdict() != r.Verdict() {
			t.Errorf("%v: token %q comes back as %v", r, r.Token(), back)
		}
	}
}

func TestFlagNames(t *testing.T) {
	f := FlagURX | FlagUF
	if got := f.String(); got != "UF,URX" {
		t.Errorf("String: %q, want bit order", got)
	}
	if got := f.Long(); got != "UpstreamConnectionFailure,UpstreamRetryLimitExceeded" {
		t.Errorf("Long: %q", got)
	}
	if got := Flag(0).String(); got != "-" {
		t.Errorf("no flags: %q", got)
	}
}

func TestParseHostPort(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"example.com:443", "example.com:443"},
		{"[2001:db8::1]:80", "[2001:db8::1]:80"},
		{"[::ffff:192.0.2.1]:80", "192.0.2.1:80"},
		{"example.com", ""}, {":80", ""}, {"a:0", ""}, {"a:65536", ""}, {"a b:1", ""},
		{"user@a:1", ""}, {"a/b:1", ""}, {"[fe80::1%eth0]:1", ""}, {"a:+1", ""},
	} {
		a, err := ParseHostPort(c.in)
		if (err == nil) != (c.want != "") || (err == nil && a.String() != c.want) {
			t.Errorf("%q: %v, %v; want %q", c.in, a, err, c.want)
		}
	}
}

func TestSocketReadChunkAllocatesNothing(t *testing.T) {
	s, peer := socketPair(t)
	b := []byte("x")
	n := testing.AllocsPerRun(100, func() {
		if _, err := peer.Write(b); err != nil {
			t.Fatal(err)
		}
		c, err := s.ReadChunk()
		if err != nil {
			t.Fatal(err)
		}
		c.Release()
	})
	if n > 0.5 {
		t.Errorf("%v allocations a read", n)
	}
}

// Both sides end at once: the end that is read is no reset, whatever the kernel
// has made of the connection by the time it is looked at.
func TestSocketBothEnd(t *testing.T) {
	const pairs = 2000
	for i := range pairs {
		func() {
			s, peer := socketPair(t)
			defer s.Close()
			defer peer.Close()
			var wg sync.WaitGroup
			wg.Go(func() { _ = peer.CloseWrite() }) // each ends at once
			wg.Go(func() { _ = s.CloseWrite() })
			if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Fatalf("pair %d: read %d, %v; want EOF", i, n, err)
			}
			wg.Wait()
		}()
	}
}
