package peer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/proxy/network"
	"culvert/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(Within(context.Background(), 20*time.Second, c))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestStream(t *testing.T) {
	s := Stream{Seed: 7, Size: 3*blockSize + 17}
	all, err := io.ReadAll(s.Reader())
	if err != nil || int64(len(all)) != s.Size {
		t.Fatalf("%d bytes, %v", len(all), err)
	}
	if sha256.Sum256(all) != s.Sum() {
		t.Error("Sum is not that of what Reader reads")
	}
	if other, _ := io.ReadAll(Stream{Seed: 8, Size: s.Size}.Reader()); bytes.Equal(all, other) {
		t.Error("two seeds, one stream")
	}
	edit := func(fn func(b []byte) []byte) []byte { return fn(bytes.Clone(all)) }
	for _, c := range []struct {
		name string
		got  []byte
		want string // "" is good
	}{
		{"exact", all, ""},
		{"one byte changed", edit(func(b []byte) []byte { b[70000] ^= 1; return b }), "byte 70000 is"},
		{"one byte lost", edit(func(b []byte) []byte { return append(b[:100], b[101:]...) }), "byte 100 is"},
		{"one byte twice", edit(func(b []byte) []byte { return append(b[:100:100], b[99:]...) }), "byte 100 is"},
		{"two blocks swapped", edit(func(b []byte) []byte {
			return append(append(append(b[:0:0], b[blockSize:2*blockSize]...), b[:blockSize]...), b[2*blockSize:]...)
		}), "is 0x"},
		{"short", all[:len(all)-1], "ended after 196624"},
		{"long", append(bytes.Clone(all), 0), "1 more bytes after its end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, piece := range []int{1000, len(all) + 1} {
				v := s.Verify()
				_, err := io.CopyBuffer(onlyWriter{v}, onlyReader{bytes.NewReader(c.got)}, make([]byte, piece))
				if err == nil {
					err = v.Complete()
				}
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("in pieces of %d: got %v, want %q", piece, err, c.want)
				}
			}
		})
	}
}

// afterByte writes or reads one byte first. A connection that is reset the
// moment it is accepted can fail the connect itself.
func afterByte(move func(net.Conn, []byte) (int, error), then Handler) Handler {
	return func(ctx context.Context, c net.Conn) error {
		if _, err := move(c, []byte{0}); err != nil {
			_ = c.Close()
			return err
		}
		return then(ctx, c)
	}
}

func TestHandlers(t *testing.T) {
	up, down := Stream{Seed: 1, Size: 4 << 20}, Stream{Seed: 2, Size: 3<<20 + 1}
	for _, c := range []struct {
		name           string
		server, client Handler
	}{
		{"both at once", Exchange(down, up), Exchange(up, down)},
		{"client ends first", ReceiveFirst(up, down), SendFirst(up, down)},
		{"server ends first", SendFirst(down, up), ReceiveFirst(down, up)},
		{"echo", Echo(), Exchange(up, up)},
		{"empty", Exchange(Stream{}, Stream{}), Exchange(Stream{}, Stream{})},
		{"reset by the server", ResetAfter(1), afterByte(net.Conn.Write, AwaitReset())},
		{"reset by the client", AwaitReset(), ResetAfter(0)},
		{"sent and reset", afterByte(net.Conn.Read, SendAndReset(Stream{Seed: 3, Size: 1000})), afterByte(net.Conn.Write, AwaitReset())},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := Serve(t, listen(t), c.server)
			if err := c.client(t.Context(), dial(t, srv.Addr())); err != nil {
				t.Errorf("client: %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := srv.Result(ctx); err != nil {
				t.Errorf("server: %v", err)
			}
		})
	}
}

// The handlers notice what they are there to notice.
func TestHandlersFail(t *testing.T) {
	s := Stream{Seed: 1, Size: 1 << 20}
	short := Stream{Seed: 1, Size: 1<<20 - 1}
	for _, c := range []struct {
		name           string
		server, client Handler
		want           string
	}{
		{"too little", Exchange(Stream{}, s), Exchange(short, Stream{}), "ended after 1048575"},
		{"too much", Exchange(Stream{}, short), Exchange(s, Stream{}), "more bytes after its end"},
		{"other bytes", Exchange(Stream{}, s), Exchange(Stream{Seed: 2, Size: 1 << 20}, Stream{}), "byte 8 is"},
		{"end where a reset should be", AwaitReset(), SendFirst(Stream{}, Stream{}), "EOF, want a reset"},
		{"reset where an end should be", Exchange(Stream{}, Stream{}), ResetAfter(0), "connection reset|not connected"}, // whichever side of it asks first
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := Serve(t, listen(t), c.server)
			_ = c.client(t.Context(), dial(t, srv.Addr()))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := srv.Result(ctx); err == nil || !regexp.MustCompile(c.want).MatchString(err.Error()) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestSilentAndClose(t *testing.T) {
	srv := Serve(t, listen(t), Silent())
	c := dial(t, srv.Addr())
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("a silent server let a read end with %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := srv.Result(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing has ended, and Result says %v", err)
	}
	srv.Close()
	_ = c.SetReadDeadline(time.Time{})
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlived the server")
	}
	if r := Connect(t.Context(), &net.Dialer{}, "tcp", srv.Addr(), time.Minute); r.Outcome != Refused {
		t.Errorf("after Close: %v", r)
	}
}

func TestConnect(t *testing.T) {
	srv := Serve(t, listen(t), Echo())
	r := Connect(t.Context(), &net.Dialer{}, "tcp", srv.Addr(), time.Minute)
	if r.Outcome != Connected || r.Conn == nil {
		t.Fatal(r, r.Err)
	}
	r.Close()
	wrap := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, c := range []struct {
		err  error
		want Outcome
	}{
		{nil, Connected},
		{wrap(syscall.ECONNREFUSED), Refused},
		{wrap(syscall.EHOSTUNREACH), HostUnreachable},
		{wrap(syscall.ENETUNREACH), NetUnreachable},
		{wrap(syscall.EACCES), Denied},
		{wrap(syscall.ECONNRESET), ResetInstead},
		{wrap(syscall.ETIMEDOUT), KernelTimedOut},
		{wrap(context.DeadlineExceeded), NothingWithinLimit},
		{errors.New("strange"), "strange"},
	} {
		if got := OutcomeOf(c.err); got != c.want {
			t.Errorf("%v is %q, want %q", c.err, got, c.want)
		}
	}
}

func TestWithin(t *testing.T) {
	srv := Serve(t, listen(t), Silent())
	c := dial(t, srv.Addr())
	defer Within(t.Context(), 20*time.Millisecond, c)()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestResetOfAConn(t *testing.T) {
	srv := Serve(t, listen(t), AwaitReset())
	a := &aborted{Conn: dial(t, srv.Addr())}
	Reset(a)
	if a.cause == nil {
		t.Error("a Conn that can abort was closed")
	}
	if network.IsReset(nil) {
		t.Error("nil is a reset")
	}
}

type aborted struct {
	net.Conn
	cause error
}

func (a *aborted) Abort(cause error) { a.cause = cause; _ = a.Close() }
