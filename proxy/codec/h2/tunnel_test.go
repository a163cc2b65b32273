package h2_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"

	"golang.org/x/net/http2"
)

// roles runs a body with each role on the left: what holds for one end of a
// tunnel holds for the other.
func roles(t *testing.T, body func(t *testing.T, left, right codec.Stream)) {
	for _, name := range []string{"client", "server"} {
		t.Run(name, func(t *testing.T) {
			h, streams := handOver(t)
			cc := pair(t, h2.Config{}, h2.Config{}, h)
			cs := open(t, cc)
			ss := next(t, streams)
			defer close(ss.done)
			if name == "client" {
				body(t, cs, ss.ServerStream)
			} else {
				body(t, ss.ServerStream, cs)
			}
		})
	}
}

func TestOneDirectionEndsAndTheOtherGoesOn(t *testing.T) {
	roles(t, func(t *testing.T, left, right codec.Stream) {
		first, late := random(1, 100_000), random(2, 3<<20)
		var wg sync.WaitGroup
		wg.Go(func() {
			write(t, left, first)
			if err := left.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		expectRead(t, right, first)
		expectEOF(t, right)
		wg.Wait()
		// left has ended; right is read to its end and has not.
		wg.Go(func() {
			write(t, right, late)
			if err := right.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		expectRead(t, left, late)
		expectEOF(t, left)
		wg.Wait()
		for name, s := range map[string]codec.Stream{"left": left, "right": right} {
			<-s.Context().Done()
			if cause := context.Cause(s.Context()); cause != codec.ErrEnded {
				t.Errorf("%s context ended with %v", name, cause)
			}
			s.Reset(codec.CodeConnect, errors.New("too late")) // does nothing
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestWriteAfterEnd(t *testing.T) {
	roles(t, func(t *testing.T, left, right codec.Stream) {
		if err := left.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := left.CloseWrite(); err != nil {
			t.Errorf("second CloseWrite: %v", err)
		}
		if _, err := left.Write([]byte("x")); err == nil {
			t.Error("Write after CloseWrite was taken")
		}
		expectEOF(t, right)
	})
}

func TestTrailersEndADirection(t *testing.T) {
	roles(t, func(t *testing.T, left, right codec.Stream) {
		write(t, left, []byte("body"))
		if err := left.WriteTrailers(codec.Fields{{Name: "X-Sum", Value: "1"}}); err != nil {
			t.Fatal(err)
		}
		expectRead(t, right, []byte("body"))
		expectEOF(t, right)
		if got := right.Trailers().Get("x-sum"); got != "1" {
			t.Errorf("trailer = %q", got)
		}
	})
}

func TestEveryResetCodeArrives(t *testing.T) {
	codes := map[codec.Code]http2.ErrCode{
		codec.CodeNoError: http2.ErrCodeNo, codec.CodeProtocol: http2.ErrCodeProtocol,
		codec.CodeInternal: http2.ErrCodeInternal, codec.CodeRefused: http2.ErrCodeRefusedStream,
		codec.CodeCancel: http2.ErrCodeCancel, codec.CodeConnect: http2.ErrCodeConnect,
		codec.CodeExcessiveLoad: http2.ErrCodeEnhanceYourCalm,
	}
	for code, wire := range codes {
		t.Run(wire.String(), func(t *testing.T) {
			roles(t, func(t *testing.T, left, right codec.Stream) {
				cause := errors.New("my own reason")
				before := random(3, 200_000)
				write(t, left, before)
				left.Reset(code, cause)
				if _, err := left.Write([]byte("x")); err != cause {
					t.Errorf("Write after Reset: %v", err)
				}
				if _, err := left.Read(make([]byte, 1)); err != cause {
					t.Errorf("Read after Reset: %v", err)
				}
				if got := context.Cause(left.Context()); got != cause {
					t.Errorf("context ended with %v", got)
				}
				expectRead(t, right, before) // what came before the reset
				re := expectReset(t, right)
				if !re.Remote || re.Code != uint64(wire) || codec.CodeFor(re) != code {
					t.Errorf("got %+v (neutral %d), want %v", re, codec.CodeFor(re), wire)
				}
				if _, err := right.Write([]byte("x")); !network.IsReset(err) {
					t.Errorf("Write on a reset stream: %v", err)
				}
				if got := errors.Is(re, codec.ErrNotProcessed); got != (code == codec.CodeRefused) {
					t.Errorf("ErrNotProcessed in the chain: %v", got)
				}
				<-right.Context().Done()
			})
		})
	}
}

func TestCloseOfAnOpenStreamIsCancel(t *testing.T) {
	roles(t, func(t *testing.T, left, right codec.Stream) {
		_ = left.Close()
		if re := expectReset(t, right); re.Code != uint64(http2.ErrCodeCancel) {
			t.Errorf("code %d", re.Code)
		}
	})
}

func TestChunksPassWithoutCopies(t *testing.T) {
	roles(t, func(t *testing.T, left, right codec.Stream) {
		want := random(4, 5<<20)
		var wg sync.WaitGroup
		wg.Go(func() {
			for rest := want; len(rest) > 0; {
				ch := network.NewChunk(network.ChunkLarge)
				n := copy(ch.Space(), rest)
				ch.Data, rest = ch.Space()[:n], rest[n:]
				if err := left.(network.ChunkWriter).WriteChunk(ch); err != nil {
					t.Error(err)
					return
				}
			}
			_ = left.CloseWrite()
		})
		var got []byte
		for {
			ch, err := right.(network.ChunkReader).ReadChunk()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, ch.Data...)
			ch.Release()
		}
		wg.Wait()
		if string(got) != string(want) {
			t.Fatalf("%d bytes of %d, or they differ", len(got), len(want))
		}
	})
}

func TestDeadlines(t *testing.T) {
	roles(t, func(t *testing.T, left, right codec.Stream) {
		past, soon := time.Now().Add(-time.Second), func() time.Time { return time.Now().Add(20 * time.Millisecond) }
		timeout := func(what string, err error) {
			t.Helper()
			var ne interface{ Timeout() bool }
			if !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("%s: %v, want a timeout", what, err)
			}
		}
		_ = left.SetReadDeadline(past)
		_, err := left.Read(make([]byte, 1))
		timeout("Read with a past deadline", err)
		_ = left.SetReadDeadline(soon())
		_, err = left.Read(make([]byte, 1))
		timeout("Read that waits", err)
		_ = left.SetReadDeadline(time.Time{})
		_ = left.SetWriteDeadline(soon())
		_, err = left.Write(make([]byte, 20<<20)) // beyond every window
		timeout("Write that waits for credit", err)
		_ = left.SetWriteDeadline(time.Time{})
		write(t, right, []byte("still alive"))
		expectRead(t, left, []byte("still alive"))

		// A deadline set while a Read waits reaches it.
		got := make(chan error, 1)
		go func() { // ends with the deadline
			_, err := left.Read(make([]byte, 1))
			got <- err
		}()
		_ = left.SetReadDeadline(soon())
		timeout("Read that was waiting", next(t, got))
	})
}

func TestManyStreamsInBothDirections(t *testing.T) {
	cc := pair(t, h2.Config{}, h2.Config{}, func(ctx context.Context, s codec.ServerStream) {
		accept(t, s)
		_, _ = io.Copy(s, s)
		_ = s.CloseWrite()
	})
	var wg sync.WaitGroup
	for i := range 32 {
		st := open(t, cc)
		want := random(uint64(i), 700_000+i)
		wg.Go(func() {
			write(t, st, want)
			_ = st.CloseWrite()
		})
		wg.Go(func() {
			expectRead(t, st, want)
			expectEOF(t, st)
		})
	}
	wg.Wait()
	if n := cc.ActiveStreams(); n != 0 {
		t.Errorf("%d streams are left", n)
	}
}
