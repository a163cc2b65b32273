package h2_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"

	"golang.org/x/net/http2"
)

// 64 streams whose readers are stuck, each with its window full, do not stop
// the 65th, whichever side sends. The connection's window, 16 MiB, is a quarter
// of what they hold.
func TestStuckStreamsDoNotStopTheirNeighbours(t *testing.T) {
	const stuck, window = 64, 1 << 20
	for _, sender := range []string{"client", "server"} {
		t.Run(sender, func(t *testing.T) {
			h, streams := handOver(t)
			cc := pair(t, h2.Config{}, h2.Config{}, h)
			tunnel := func() (from, to codec.Stream) {
				cs := open(t, cc)
				ss := next(t, streams)
				if sender == "client" {
					return cs, ss
				}
				return ss, cs
			}
			for range stuck {
				from, _ := tunnel()
				write(t, from, make([]byte, window))
				// Not a byte more fits.
				_ = from.SetWriteDeadline(time.Now().Add(time.Millisecond))
				if n, err := from.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("beyond the window: %d, %v", n, err)
				}
			}
			from, to := tunnel()
			want := random(7, 32<<20)
			var wg sync.WaitGroup
			wg.Go(func() { write(t, from, want) })
			expectRead(t, to, want)
			wg.Wait()
		})
	}
}

// What a stuck stream pins is about its window, however small the frames.
func TestSmallFramesDoNotPinLargeBuffers(t *testing.T) {
	h, streams := handOver(t)
	r, _ := rawClient(t, h2.Config{}, h)
	const n, bytesEach = 64, 5000
	before := heap()
	for i := range n {
		id := uint32(2*i + 1)
		r.connect(id)
		next(t, streams)
		for range bytesEach {
			r.ok(r.WriteData(id, false, []byte{1}))
		}
	}
	r.alive() // all has arrived
	held := heap() - before
	if most := int64(n * bytesEach * 12); held > most {
		t.Errorf("%d bytes in one-byte frames pin %d bytes", n*bytesEach, held)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // the second empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// received reads DATA of stream id until n bytes have come, then proves that no
// more does.
func (r *raw) received(id uint32, n int) {
	r.t.Helper()
	for n > 0 {
		n -= len(r.data(id))
	}
	if n < 0 {
		r.t.Fatalf("%d bytes too many", -n)
	}
	r.ok(r.WritePing(false, [8]byte{'.'}))
	r.until(func(f http2.Frame) bool {
		if _, ok := f.(*http2.DataFrame); ok {
			r.t.Fatalf("DATA beyond the window: %v", f)
		}
		p, ok := f.(*http2.PingFrame)
		return ok && p.IsAck()
	})
}

func TestSendingKeepsToThePeersWindows(t *testing.T) {
	want := random(8, 500_000)
	r, _ := rawClient(t, h2.Config{}, func(_ context.Context, s codec.ServerStream) {
		accept(t, s)
		_, _ = s.Write(want)
		_ = s.CloseWrite()
	})
	r.ok(r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000}))
	r.connect(1)
	r.received(1, 1000)
	r.ok(r.WriteWindowUpdate(1, 500))
	r.received(1, 500)
	// The window becomes negative: 1500 are used, 100 are left of the initial.
	r.ok(r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100}))
	r.received(1, 0)
	r.ok(r.WriteWindowUpdate(1, 900)) // to 0
	r.received(1, 0)
	r.ok(r.WriteWindowUpdate(1, 1))
	r.received(1, 1)
	r.ok(r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 50_100}))
	r.received(1, 50_000)
	// Now the connection's 65535 are the bound.
	r.ok(r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}))
	r.received(1, 65535-51501)
	r.ok(r.WriteWindowUpdate(0, 100_000))
	r.received(1, 100_000)
}

func TestFramesAreAsLargeAsThePeerTakes(t *testing.T) {
	for _, tt := range []struct{ peer, want int }{{0, 16384}, {64 << 10, 64 << 10}, {1 << 20, 256 << 10}} {
		t.Run(fmt.Sprint(tt.peer), func(t *testing.T) {
			r, _ := rawClient(t, h2.Config{}, func(_ context.Context, s codec.ServerStream) {
				_ = s.WriteResponse(&codec.Response{Status: 200})
				_, _ = s.Write(make([]byte, 1<<20))
			})
			settings := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1 << 24}}
			if tt.peer > 0 {
				settings = append(settings, http2.Setting{ID: http2.SettingMaxFrameSize, Val: uint32(tt.peer)})
			}
			r.ok(r.WriteSettings(settings...))
			r.ok(r.WriteWindowUpdate(0, 1<<24))
			r.connect(1)
			if got := len(r.data(1)); got != tt.want {
				t.Errorf("first frame has %d bytes, want %d", got, tt.want)
			}
		})
	}
}

// windowUpdates sums the increments of stream id up to the answer to a PING.
func (r *raw) windowUpdates(id uint32) (sum, frames int) {
	r.t.Helper()
	r.ok(r.WritePing(false, [8]byte{'w'}))
	r.until(func(f http2.Frame) bool {
		if w, ok := f.(*http2.WindowUpdateFrame); ok && w.StreamID == id {
			sum += int(w.Increment)
			frames++
		}
		p, ok := f.(*http2.PingFrame)
		return ok && p.IsAck()
	})
	return sum, frames
}

func TestCreditOfTheConnectionIsGivenOnArrival(t *testing.T) {
	h, streams := handOver(t)
	r, _ := rawClient(t, h2.Config{}, h)
	if got, _ := r.windowUpdates(0); got != 16<<20-65535 {
		t.Errorf("connection window grows by %d at the start", got)
	}
	r.connect(1)
	next(t, streams)
	for range 64 { // 1 MiB, nobody reads
		r.ok(r.WriteData(1, false, make([]byte, 16<<10)))
	}
	if got, frames := r.windowUpdates(0); got != 1<<20 || frames != 4 {
		t.Errorf("connection got %d back in %d frames, want 1 MiB in 4", got, frames)
	}
}

// Data for streams that are over is paid back too (CVE-2026-26311: it is not
// delivered).
func TestDataOnClosedStreamsIsCredited(t *testing.T) {
	h, streams := handOver(t)
	r, _ := rawClient(t, h2.Config{}, h)
	r.windowUpdates(0)
	r.connect(1)
	s := next(t, streams)
	s.Reset(codec.CodeCancel, nil)
	for range 64 {
		r.ok(r.WriteDataPadded(1, false, make([]byte, 16<<10-256), make([]byte, 255)))
	}
	if got, _ := r.windowUpdates(0); got != 1<<20 {
		t.Errorf("connection got %d back, want 1 MiB", got)
	}
}

func TestStreamIsCreditedAtHalfItsWindowAfterConsumption(t *testing.T) {
	h, streams := handOver(t)
	r, _ := rawClient(t, h2.Config{}, h)
	r.connect(1)
	s := next(t, streams)
	// 10 bytes of payload in frames of 266 with their padding: the padding
	// needs no reader.
	const frames = 3000
	for range frames {
		r.ok(r.WriteDataPadded(1, false, make([]byte, 10), make([]byte, 255)))
	}
	if got, n := r.windowUpdates(1); n != 1 || got < 512<<10 || got > 512<<10+256 {
		t.Errorf("credit for padding: %d in %d frames", got, n)
	}
	if _, err := io.ReadFull(s, make([]byte, 10*frames)); err != nil {
		t.Fatal(err)
	}
	for range 32 {
		r.ok(r.WriteData(1, false, make([]byte, 16<<10)))
	}
	if _, n := r.windowUpdates(1); n != 0 {
		t.Errorf("%d updates before anything is read", n)
	}
	if _, err := io.ReadFull(s, make([]byte, 32*16<<10)); err != nil {
		t.Fatal(err)
	}
	total := frames*266 + 32*16<<10
	if got, n := r.windowUpdates(1); n != 1 {
		t.Errorf("%d updates of %d bytes in all after reading (%d arrived)", n, got, total)
	}
}

// Many senders share the connection's window in turns.
func TestSendersTakeTurns(t *testing.T) {
	const senders, each = 16, 4 << 20
	h, streams := handOver(t)
	cc := pair(t, h2.Config{}, h2.Config{ConnWindow: 128 << 10}, h)
	progress := make([]int, senders)
	var mu sync.Mutex
	var wg sync.WaitGroup
	finished := 0
	var begin sync.WaitGroup // none is ahead because it was opened first
	begin.Add(1)
	for i := range senders {
		st := open(t, cc)
		ss := next(t, streams)
		wg.Go(func() {
			begin.Wait()
			_, _ = st.Write(make([]byte, each))
		})
		wg.Go(func() {
			buf := make([]byte, 64<<10)
			for {
				n, err := ss.Read(buf)
				mu.Lock()
				progress[i] += n
				over := progress[i] == each
				if over {
					finished++
					if finished == 1 {
						for j, p := range progress {
							if p < each/4 {
								t.Errorf("sender %d has %d bytes when sender %d has finished", j, p, i)
							}
						}
					}
				}
				mu.Unlock()
				if err != nil || over {
					return
				}
			}
		})
	}
	begin.Done()
	wg.Wait()
}

// A reset of a stream that waits in line, or was just granted credit, loses no
// credit of the connection. The sender is the server: its own resets are not
// the client's fault.
func TestNoCreditIsLostByResets(t *testing.T) {
	want := random(9, 8<<20)
	var resets atomic.Int64
	cc := pair(t, h2.Config{ConnWindow: 128 << 10}, h2.Config{}, func(_ context.Context, s codec.ServerStream) {
		if s.Request().Authority == "last:1" {
			accept(t, s)
			write(t, s, want)
			_ = s.CloseWrite()
			return
		}
		after := time.Duration(resets.Add(1)%7) * 300 * time.Microsecond
		timer := time.AfterFunc(after, func() { s.Reset(codec.CodeConnect, nil) })
		defer timer.Stop()
		_ = s.WriteResponse(&codec.Response{Status: 200})
		_, _ = s.Write(make([]byte, 4<<20))
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				st, err := cc.OpenStream(context.Background(), connectTo("a:1"))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, st)
				_ = st.Close()
			}
		})
	}
	wg.Wait()
	st, err := cc.OpenStream(context.Background(), connectTo("last:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	expectRead(t, st, want)
}

// Frames cut anywhere by the transport arrive whole: one byte at a time, and
// with several frames in one read.
func TestFramesAcrossReads(t *testing.T) {
	h, streams := handOver(t)
	a, b := socketPair(t)
	server(t, context.Background(), b, h2.Config{}, h)
	r := newRaw(t, a)
	var buf bytes.Buffer
	buf.WriteString(http2.ClientPreface)
	fr := http2.NewFramer(&buf, nil)
	_ = fr.WriteSettings()
	_ = fr.WriteSettingsAck()
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(":method: CONNECT", ":authority: a:1"), EndHeaders: true})
	_ = fr.WriteData(1, false, []byte("one"))
	_ = fr.WriteDataPadded(1, false, []byte("two"), make([]byte, 3))
	_ = fr.WriteData(1, true, []byte("three"))
	for _, c := range buf.Bytes() {
		r.bytes([]byte{c})
	}
	s := next(t, streams)
	expectRead(t, s, []byte("onetwothree"))
	expectEOF(t, s)
	var _ network.ChunkReader = s.ServerStream.(network.ChunkReader)
}
