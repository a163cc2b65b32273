package transport_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"culvert/proxy/network"
	"culvert/proxy/transport"
	"culvert/proxy/transport/transporttest"
)

func TestRawIsTheConnectionItself(t *testing.T) {
	a, b := transporttest.Pair(t)
	u, err := transport.NewUpstream(nil, transport.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := transport.NewDownstream(nil, transport.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := u.Wrap(t.Context(), a, transport.Options{}); c != network.Conn(a) || err != nil || u.Secure() {
		t.Error("upstream is not raw")
	}
	if c, err := d.Wrap(t.Context(), b, network.NewStreamInfo(1)); c != network.Conn(b) || err != nil || d.Secure() {
		t.Error("downstream is not raw")
	}
	if transport.ConnTLS(a) != nil {
		t.Error("a raw connection has TLS")
	}
}

type observer struct{ network.Conn }

func (o observer) Unwrap() network.Conn { return o.Conn }

func TestConnTLSLooksThroughObservers(t *testing.T) {
	e := plain(t)
	s := transport.ConnTLS(observer{observer{e.client}})
	if s == nil || s.Version != tls.VersionTLS13 || s.ServerName != "a.test" {
		t.Errorf("%+v", s)
	}
	if e.info.TLS == nil || e.info.ServerName != "a.test" {
		t.Errorf("info: %+v", e.info)
	}
}

// Relay must not look through TLS for the socket beneath.
func TestTLSIsNoUnwrapper(t *testing.T) {
	if _, ok := plain(t).client.(network.Unwrapper); ok {
		t.Error("the bytes beneath are taken for the bytes of the connection")
	}
}

// But how far away the peer is, is the same for both.
func TestTLSRoundTrip(t *testing.T) {
	if trip := network.RoundTrip(observer{plain(t).client}); trip <= 0 {
		t.Errorf("round trip %v", trip)
	}
}

// Both directions at once, through Read and Write and through chunks, with
// writes of every size around that of a record.
func TestBytes(t *testing.T) {
	e := plain(t)
	const total = 5 << 20
	data := make([]byte, total)
	_, _ = rand.Read(data)
	sizes := []int{1, 100, 16<<10 - 1, 16 << 10, 16<<10 + 1, 128 << 10, 300 << 10, 1 << 20}
	send := func(c network.Conn, chunks bool) {
		for i, rest := 0, data; len(rest) > 0; i++ {
			n := min(sizes[i%len(sizes)], len(rest))
			var err error
			if chunks {
				chunk := network.NewChunk(network.ChunkLarge)
				n = min(n, network.ChunkLarge)
				chunk.Data = chunk.Space()[:copy(chunk.Space(), rest[:n])]
				err = c.(network.ChunkWriter).WriteChunk(chunk)
			} else {
				_, err = c.Write(rest[:n])
			}
			if err != nil {
				t.Error(err)
				return
			}
			rest = rest[n:]
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { send(e.client, false) })
	wg.Go(func() { send(e.server, true) })
	wg.Go(func() {
		got, err := io.ReadAll(e.client)
		if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
			t.Errorf("client read %d bytes, %v", len(got), err)
		}
	})
	var got []byte
	for {
		chunk, err := e.server.(network.ChunkReader).ReadChunk()
		if err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			break
		}
		got = append(got, chunk.Data...)
		chunk.Release()
	}
	wg.Wait()
	if sha256.Sum256(got) != sha256.Sum256(data) {
		t.Errorf("server read %d bytes", len(got))
	}
	if err := e.client.Close(); err != nil {
		t.Error(err)
	}
	if err := e.server.Close(); err != nil {
		t.Error(err)
	}
}

// A chunk read takes what is there; it neither waits for more with bytes in
// hand nor loses what Read left over.
func TestReadAndReadChunkMix(t *testing.T) {
	e := plain(t)
	one := make([]byte, 3)
	for i := range 20 {
		msg := bytes.Repeat([]byte{byte('a' + i)}, 5+i*1000)
		if _, err := e.server.Write(msg); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(e.client, one); err != nil {
			t.Fatal(err)
		}
		got := append([]byte(nil), one...)
		for len(got) < len(msg) {
			chunk, err := e.client.(network.ChunkReader).ReadChunk()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, chunk.Data...)
			chunk.Release()
		}
		if !bytes.Equal(got, msg) {
			t.Fatalf("round %d: %d bytes, want %d", i, len(got), len(msg))
		}
	}
}

// Ready records come in one chunk, not in one each.
func TestReadChunkGathersRecords(t *testing.T) {
	e := plain(t)
	if _, err := e.server.Write(make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	for e.server.(network.SendQueue).Unsent() > 0 {
		time.Sleep(time.Millisecond) // the kernel tells of arrival only so
	}
	chunk, err := e.client.(network.ChunkReader).ReadChunk()
	if err != nil {
		t.Fatal(err)
	}
	defer chunk.Release()
	if len(chunk.Data) < 48<<10 {
		t.Errorf("a chunk of %d bytes where 65536 were ready", len(chunk.Data))
	}
}

// After our own close_notify the peer's bytes still come.
func TestHalfCloseStaysReadable(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		e := plainVersion(t, version)
		if err := e.client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if n, err := e.server.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Fatalf("server: %d, %v", n, err)
		}
		if _, err := e.client.Write([]byte("x")); err == nil {
			t.Error("a write after CloseWrite")
		}
		if _, err := e.server.Write([]byte("late")); err != nil {
			t.Fatal(err)
		}
		if err := e.server.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(e.client)
		if string(got) != "late" || err != nil {
			t.Errorf("client: %q, %v", got, err)
		}
		if err := errors.Join(e.client.Close(), e.server.Close()); err != nil {
			t.Error(err)
		}
	}
}

// A FIN without close_notify is no end, wherever it falls.
func TestTruncationIsAReset(t *testing.T) {
	e := plain(t)
	if _, err := e.server.Write([]byte("all?")); err != nil {
		t.Fatal(err)
	}
	if err := e.serverRaw.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(e.client)
	if string(got) != "all?" || !errors.Is(err, transport.ErrTruncated) || !network.IsReset(err) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := e.client.Read(make([]byte, 1)); !errors.Is(err, transport.ErrTruncated) {
		t.Errorf("again: %v", err)
	}
}

func TestTruncatedChunk(t *testing.T) {
	e := plain(t)
	if err := e.serverRaw.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.client.(network.ChunkReader).ReadChunk(); !errors.Is(err, transport.ErrTruncated) || !network.IsReset(err) {
		t.Errorf("%v", err)
	}
}

// Abort is RST on the wire, without a close_notify before it.
func TestAbortIsAReset(t *testing.T) {
	e := plain(t)
	cause := errors.New("enough")
	e.server.Abort(cause)
	if n, err := e.client.Read(make([]byte, 1)); n != 0 || !network.IsReset(err) || errors.Is(err, transport.ErrTruncated) {
		t.Errorf("peer: %d, %v", n, err)
	}
	if _, err := e.server.Read(make([]byte, 1)); !errors.Is(err, cause) {
		t.Errorf("own read: %v", err)
	}
	if _, err := e.server.Write([]byte("x")); !errors.Is(err, cause) {
		t.Errorf("own write: %v", err)
	}
	if err := e.server.CloseWrite(); !errors.Is(err, cause) {
		t.Errorf("own CloseWrite: %v", err)
	}
}

func TestAbortInterrupts(t *testing.T) {
	e := plain(t)
	cause := errors.New("enough")
	var wg sync.WaitGroup
	started := make(chan struct{})
	wg.Go(func() {
		close(started)
		if _, err := e.client.Read(make([]byte, 1)); !errors.Is(err, cause) {
			t.Errorf("pending read: %v", err)
		}
	})
	<-started
	e.client.Abort(cause)
	wg.Wait()
}

// Close before both directions ended is an Abort.
func TestEarlyCloseIsAReset(t *testing.T) {
	for _, half := range []bool{false, true} {
		e := plain(t)
		if half {
			if err := e.server.CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.server.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := io.ReadAll(e.client)
		if !half && !network.IsReset(err) {
			t.Errorf("%v", err)
		}
		if half {
			// The end came before the reset; the reset ends our direction.
			for err = nil; err == nil; {
				_, err = e.client.Write(make([]byte, 1024))
			}
			if !network.IsReset(err) {
				t.Errorf("half closed: %v", err)
			}
		}
	}
}

func TestDeadlines(t *testing.T) {
	e := plain(t)
	c := e.client
	past := time.Now().Add(-time.Second)
	for _, read := range []func() error{
		func() error { _, err := c.Read(make([]byte, 9)); return err },
		func() error { _, err := c.(network.ChunkReader).ReadChunk(); return err },
	} {
		if err := c.SetReadDeadline(past); err != nil {
			t.Fatal(err)
		}
		if err := read(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if err := c.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if _, err := e.server.Write([]byte("go on")); err != nil {
			t.Fatal(err)
		}
		if err := read(); err != nil {
			t.Errorf("after the deadline: %v", err)
		}
	}
	if c.LocalAddr().String() != e.clientRaw.LocalAddr().String() || c.RemoteAddr().String() != e.clientRaw.RemoteAddr().String() {
		t.Error("addresses")
	}
}

// countingConn counts writes; it hides that a socket reads chunks.
type countingConn struct {
	network.Conn
	writes int
}

func (c *countingConn) Write(p []byte) (int, error) { c.writes++; return c.Conn.Write(p) }

// One Write of many records is one write below; and a connection that knows no
// chunks works as well.
func TestRecordsAreGathered(t *testing.T) {
	ca := transporttest.Authority(t)
	u := upstream(t, transporttest.Client(ca, "a.test"))
	d := downstream(t, transporttest.Server(transporttest.Issue(t, ca, "a.test")))
	a, b := transporttest.Pair(t)
	below := &countingConn{Conn: a}
	var wg sync.WaitGroup
	wg.Go(func() {
		server, err := d.Wrap(t.Context(), b, network.NewStreamInfo(1))
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.Copy(server, server)
		_ = server.CloseWrite()
		_ = server.Close()
	})
	client, err := u.Wrap(t.Context(), below, transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ size, writes int }{{1, 1}, {16 << 10, 1}, {128 << 10, 1}, {240 << 10, 1}, {1 << 20, 5}} {
		before := below.writes
		wg.Go(func() {
			if _, err := client.Write(make([]byte, c.size)); err != nil {
				t.Error(err)
			}
		})
		for n := 0; n < c.size; {
			chunk, err := client.(network.ChunkReader).ReadChunk()
			if err != nil {
				t.Fatal(err)
			}
			n += len(chunk.Data)
			chunk.Release()
		}
		if got := below.writes - before; got > c.writes {
			t.Errorf("%d bytes took %d writes, want at most %d", c.size, got, c.writes)
		}
	}
	_ = client.CloseWrite()
	_, _ = io.Copy(io.Discard, client)
	_ = client.Close()
	wg.Wait()
}

// A peer that says nothing, or no TLS, fails the handshake within its time.
func TestHandshakeIsBounded(t *testing.T) {
	ca := transporttest.Authority(t)
	u := upstream(t, transporttest.Client(ca, "a.test"))
	gone := errors.New("the application went away")
	for _, c := range []struct {
		name   string
		end    func(context.Context) (context.Context, context.CancelFunc)
		peer   func(*network.Socket)
		reason network.Reason
		is     error
	}{
		{"silent", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 20*time.Millisecond)
		}, func(*network.Socket) {}, network.ReasonGateway, context.DeadlineExceeded},
		{"canceled", context.WithCancel, nil, network.ReasonCanceled, context.Canceled},
		{"canceled with a cause", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			return ctx, func() { cancel(gone) }
		}, nil, network.ReasonCanceled, gone},
		{"not TLS", context.WithCancel, func(s *network.Socket) {
			_, _ = s.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		}, network.ReasonGateway, nil},
		{"hangs up", context.WithCancel, func(s *network.Socket) { _ = s.CloseWrite() }, network.ReasonGateway, transport.ErrTruncated},
		{"resets", context.WithCancel, func(s *network.Socket) { s.Abort(nil) }, network.ReasonGateway, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := transporttest.Pair(t)
			ctx, cancel := c.end(t.Context())
			defer cancel()
			if c.peer != nil {
				c.peer(b)
			} else {
				cancel()
			}
			_, err := u.Wrap(ctx, a, transport.Options{})
			if err == nil || network.ReasonFor(err) != c.reason || (c.is != nil && !errors.Is(err, c.is)) {
				t.Errorf("%v: %v", network.ReasonFor(err), err)
			}
			if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the connection is still open: %v", err)
			}
		})
	}
}

func BenchmarkTLSWrite128K(b *testing.B) {
	ca := transporttest.Authority(b)
	u, err := transport.NewUpstream(transporttest.Socket(b, transporttest.Client(ca, "a.test")), transport.Deps{})
	if err != nil {
		b.Fatal(err)
	}
	d, err := transport.NewDownstream(transporttest.Socket(b, transporttest.Server(transporttest.Issue(b, ca, "a.test"))), transport.Deps{})
	if err != nil {
		b.Fatal(err)
	}
	x, y := transporttest.Pair(b)
	var wg sync.WaitGroup
	wg.Go(func() {
		server, err := d.Wrap(b.Context(), y, network.NewStreamInfo(1))
		if err != nil {
			b.Error(err)
			return
		}
		for {
			chunk, err := server.(network.ChunkReader).ReadChunk()
			if err != nil {
				return
			}
			chunk.Release()
		}
	})
	client, err := u.Wrap(b.Context(), x, transport.Options{})
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 128<<10)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	_ = client.CloseWrite()
	wg.Wait()
}
