package internallisteners

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"culvert/proxy/network"
)

func pair(size int) (client, server network.Conn) {
	return NewPipe(size, network.InternalAddress("client", ""), network.InternalAddress("inner", "1"))
}

func TestPipeCarriesBothWaysWithinItsBound(t *testing.T) {
	const size, bound = 8 << 20, 64 << 10
	client, server := pair(bound)
	send := func(c network.Conn, seed byte) {
		_, err := io.Copy(c, io.LimitReader(rand.NewChaCha8([32]byte{seed}), size))
		if err := errors.Join(err, c.CloseWrite()); err != nil {
			t.Error(err)
		}
	}
	go send(client, 1) // both end when all is written
	go send(server, 2)
	sum := func(r io.Reader) []byte {
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			t.Error(err)
		}
		return h.Sum(nil)
	}
	got := make(chan []byte)
	go func() { got <- sum(server) }() // ends with the client's EOF
	down := sum(client)
	up := <-got
	for seed, s := range map[byte][]byte{1: up, 2: down} {
		if !bytes.Equal(s, sum(io.LimitReader(rand.NewChaCha8([32]byte{seed}), size))) {
			t.Errorf("stream %d arrived changed", seed)
		}
	}
	if err := errors.Join(client.Close(), server.Close()); err != nil {
		t.Error(err)
	}
}

func TestPipeWriterWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(16 << 10)
		wrote := 0
		go func() { // ends when the client is closed
			for {
				n, err := client.Write(make([]byte, 4<<10))
				wrote += n
				if err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		if wrote != 16<<10 {
			t.Errorf("%d bytes went into a pipe of 16 KiB that nobody reads", wrote)
		}
		if n := client.(network.SendQueue).Unsent(); n != 16<<10 {
			t.Errorf("Unsent %d", n)
		}
		if _, err := io.ReadFull(server, make([]byte, 4<<10)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if wrote != 20<<10 {
			t.Errorf("%d bytes written after 4 KiB were read", wrote)
		}
		server.Abort(nil)
		synctest.Wait()
		if _, err := client.Write([]byte("x")); !network.IsReset(err) {
			t.Errorf("write after the peer's abort: %v, want a reset", err)
		}
	})
}

// What was written before an end or a reset is read before it.
func TestPipeEndings(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		name string
		end  func(network.Conn)
		want func(error) bool
	}{
		{"CloseWrite", func(c network.Conn) { _ = c.CloseWrite() }, func(err error) bool { return errors.Is(err, io.EOF) }},
		{"Abort", func(c network.Conn) { c.Abort(cause) }, func(err error) bool { return network.IsReset(err) && errors.Is(err, cause) }},
		{"Close while open", func(c network.Conn) { _ = c.Close() }, network.IsReset},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := pair(0)
			if _, err := client.Write([]byte("last words")); err != nil {
				t.Fatal(err)
			}
			c.end(client)
			b, err := readAll(server)
			if string(b) != "last words" || !c.want(err) {
				t.Errorf("read %q, %v", b, err)
			}
		})
	}
}

func TestPipeHalvesAreIndependent(t *testing.T) {
	client, server := pair(0)
	_ = client.CloseWrite()
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("server: %v", err)
	}
	if _, err := server.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	_ = server.CloseWrite()
	if b, err := readAll(client); string(b) != "still here" || !errors.Is(err, io.EOF) {
		t.Errorf("client read %q, %v", b, err)
	}
	if _, err := client.Write([]byte("x")); err == nil {
		t.Error("write after CloseWrite: no error")
	}
}

func TestPipeDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := pair(4 << 10)
		_ = client.SetDeadline(time.Now().Add(time.Second))
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		if _, err := client.Write(make([]byte, 64<<10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %v", err)
		}
	})
}

func TestPipeReadsInPieces(t *testing.T) {
	client, server := pair(0)
	_, _ = client.Write([]byte("abcdef"))
	var got []byte
	for range 3 {
		b := make([]byte, 2)
		n, err := server.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b[:n]...)
	}
	if string(got) != "abcdef" {
		t.Errorf("read %q", got)
	}
}

// readAll reads up to the first error, which it returns.
func readAll(r io.Reader) ([]byte, error) {
	var out []byte
	b := make([]byte, 64)
	for {
		n, err := r.Read(b)
		out = append(out, b[:n]...)
		if err != nil {
			return out, err
		}
	}
}

func innerInfo() *network.StreamInfo {
	info := network.NewStreamInfo(1)
	info.DirectLocalAddress = network.InternalAddress("inner", "1")
	return info
}

func TestDialReturnsAfterAccept(t *testing.T) {
	handler := network.HandlerFunc(func(ctx context.Context, f network.Flow) error {
		c, err := f.Accept(ctx)
		if err != nil {
			return err
		}
		if again, _ := f.Accept(ctx); again != c {
			t.Error("a second Accept gave another Conn")
		}
		f.Reject(errors.New("too late")) // does nothing
		_, err = network.CopyStream(c, c)
		return errors.Join(err, c.CloseWrite(), c.Close())
	})
	ended := make(chan error, 1)
	c, err := Dial(t.Context(), context.Background(), handler, innerInfo(), 0, func(err error) { ended <- err })
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("echo"))
	_ = c.CloseWrite()
	if b, err := readAll(c); string(b) != "echo" || !errors.Is(err, io.EOF) {
		t.Errorf("read %q, %v", b, err)
	}
	if err := errors.Join(c.Close(), <-ended); err != nil {
		t.Error(err)
	}
}

func TestDialIsTheHandlersAnswer(t *testing.T) {
	refused := network.WithReason(network.ReasonConnectionRefused, nil)
	for _, c := range []struct {
		name    string
		handler network.HandlerFunc
		want    network.Reason
	}{
		{"reject", func(_ context.Context, f network.Flow) error { f.Reject(refused); return nil }, network.ReasonConnectionRefused},
		{"error without an answer", func(context.Context, network.Flow) error { return refused }, network.ReasonConnectionRefused},
		{"nothing", func(context.Context, network.Flow) error { return nil }, network.ReasonUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			ended := make(chan error, 1)
			conn, err := Dial(t.Context(), context.Background(), c.handler, innerInfo(), 0, func(err error) { ended <- err })
			if conn != nil || err == nil || network.ReasonFor(err) != c.want {
				t.Errorf("Dial: %v, %v; want %v", conn, err, c.want)
			}
			<-ended
		})
	}
}

// A dial that is given up ends the handler's wait.
func TestDialCanceled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	ended := make(chan error, 1)
	handler := network.HandlerFunc(func(_ context.Context, f network.Flow) error {
		cancel(gone)
		<-f.Context().Done()
		_, err := f.Accept(context.Background())
		return err
	})
	if _, err := Dial(ctx, context.Background(), handler, innerInfo(), 0, func(err error) { ended <- err }); !errors.Is(err, gone) {
		t.Errorf("Dial: %v, want %v", err, gone)
	}
	if err := <-ended; !errors.Is(err, gone) {
		t.Errorf("the handler's Accept: %v, want %v", err, gone)
	}
}
