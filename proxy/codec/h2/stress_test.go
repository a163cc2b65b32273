package h2_test

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
)

// 64 tunnels at once, each echoing, cut at random by either side or by
// deadlines; what is not cut is whole. Run with -race.
func TestStress(t *testing.T) {
	cs, stats := newCounts()
	cc := pair(t, h2.Config{ConnWindow: 256 << 10, Stats: stats}, h2.Config{ConnWindow: 256 << 10, StreamWindow: 128 << 10, Stats: stats},
		func(_ context.Context, s codec.ServerStream) {
			if s.WriteResponse(&codec.Response{Status: 200}) != nil {
				return
			}
			if s.ID()%5 == 0 {
				time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { s.Reset(codec.CodeConnect, errTestOver) })
			}
			r, w := s.(network.ChunkReader), s.(network.ChunkWriter)
			for {
				c, err := r.ReadChunk()
				if err == io.EOF {
					_ = s.CloseWrite()
					return
				}
				if err != nil || w.WriteChunk(c) != nil {
					return
				}
			}
		})
	rounds := 30
	if testing.Short() {
		rounds = 4
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() { stressTunnels(t, cc, uint64(i), rounds) })
	}
	wg.Wait()
	if n := cc.ActiveStreams(); n != 0 {
		t.Errorf("%d streams are left", n)
	}
	if n := cs.get("streams_active"); n > 64 { // the server may still be learning of the last resets
		t.Errorf("streams_active = %d", n)
	}
}

func stressTunnels(t *testing.T, cc *h2.ClientConn, seed uint64, rounds int) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range rounds {
		st, err := cc.OpenStream(context.Background(), connectTo("a:1"))
		if err != nil {
			t.Error(err)
			return
		}
		want := random(rnd.Uint64(), rnd.IntN(400_000))
		cut := rnd.IntN(3) == 0 || st.ID()%5 == 0
		var timer *time.Timer
		switch rnd.IntN(9) {
		case 0:
			timer = time.AfterFunc(time.Duration(rnd.IntN(2000))*time.Microsecond, func() { st.Reset(codec.CodeCancel, errTestOver) })
			cut = true
		case 1:
			_ = st.SetReadDeadline(time.Now().Add(time.Duration(rnd.IntN(2000)) * time.Microsecond))
			cut = true
		case 2:
			_ = st.SetWriteDeadline(time.Now().Add(time.Duration(rnd.IntN(2000)) * time.Microsecond))
			cut = true
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for rest := want; len(rest) > 0; {
				n := min(len(rest), 1+int(crc32.ChecksumIEEE(rest[:1]))%50_000)
				if _, err := st.Write(rest[:n]); err != nil {
					if !cut {
						t.Errorf("Write: %v", err)
					}
					st.Reset(codec.CodeCancel, err)
					return
				}
				rest = rest[n:]
			}
			_ = st.CloseWrite()
		})
		got, err := io.ReadAll(st)
		switch {
		case err == nil && !bytes.Equal(got, want):
			t.Errorf("%d bytes came back of %d", len(got), len(want))
		case err != nil && !cut:
			t.Errorf("Read: %v", err)
		case err != nil && !bytes.HasPrefix(want, got):
			t.Error("what came before the end differs")
		case err != nil:
			var re *network.ResetError
			if !errors.As(err, &re) && !errors.Is(err, errTestOver) && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read: %v", err)
			}
			st.Reset(codec.CodeCancel, errTestOver)
		}
		wg.Wait()
		if timer != nil {
			timer.Stop()
		}
		_ = st.Close()
	}
}
