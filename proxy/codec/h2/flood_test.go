package h2_test

import (
	"context"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"

	"golang.org/x/net/http2"
)

// attack runs send against a server of ours, ignoring that the server may hang
// up meanwhile, and expects the connection to be closed and the counter to say
// why.
func attack(t *testing.T, cfg h2.Config, counter string, h codec.ServerHandler, send func(*raw) error) {
	t.Helper()
	t.Parallel() // most of the time goes by waiting for the attacker to hang up
	cs, stats := newCounts()
	cfg.Stats = stats
	r, wait := rawClient(t, cfg, h)
	for send(r) == nil {
	}
	if got := connErrorCode(t, wait()); got != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("connection ended with %v", got)
	}
	cs.reaches(t, counter, 1)
	cs.reaches(t, "streams_active", 0)
}

// stuffed opens stream 1 and has the server try to send on it more than the
// sockets take, so that everything it queues stays queued.
func stuffed(_ context.Context, s codec.ServerStream) {
	if s.WriteResponse(&codec.Response{Status: 200}) == nil {
		_, _ = s.Write(make([]byte, 1<<26))
	}
}

func stuff(r *raw) {
	r.connect(1)
	r.ok(r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}))
	r.ok(r.WriteWindowUpdate(0, 1<<30))
}

func TestQueuedControlFrames(t *testing.T) {
	id := uint32(1)
	for name, send := range map[string]func(r *raw) error{
		"CVE-2019-9512 PING":     func(r *raw) error { return r.WritePing(false, [8]byte{1}) },
		"CVE-2019-9515 SETTINGS": func(r *raw) error { return r.WriteSettings() },
		"CVE-2019-9514 provoked RST_STREAM": func(r *raw) error {
			id += 2
			return r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.block("X: 1"), EndHeaders: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := h2.Config{}
			first := true
			// Resets are judged sooner by the rule on premature ones: that is
			// fine, but another counter.
			counter := "outbound_control_flood"
			if name == "CVE-2019-9514 provoked RST_STREAM" {
				counter = "too_many_premature_resets"
			}
			attack(t, cfg, counter, stuffed, func(r *raw) error {
				if first {
					first = false
					stuff(r)
				}
				return send(r)
			})
		})
	}
}

func TestCVE_2019_9518_EmptyFrames(t *testing.T) {
	for name, send := range map[string]func(r *raw) error{
		"DATA": func(r *raw) error { return r.WriteData(1, false, nil) },
		"padded DATA is not empty, but what it holds is": func(r *raw) error {
			return r.WriteRawFrame(http2.FrameData, 0, 1, nil)
		},
		"HEADERS and CONTINUATION": func(r *raw) error {
			if err := r.WriteRawFrame(http2.FrameHeaders, 0, 3, nil); err != nil {
				return err
			}
			return r.WriteRawFrame(http2.FrameContinuation, 0, 3, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			opened := false
			attack(t, h2.Config{}, "inbound_empty_frames_flood", echo, func(r *raw) error {
				if !opened {
					opened = true
					r.connect(1)
				}
				return send(r)
			})
		})
	}
}

func TestOneEmptyFrameIsNoFlood(t *testing.T) {
	r, _ := rawClient(t, h2.Config{}, echo)
	r.connect(1)
	for range 100 {
		r.ok(r.WriteData(1, false, nil))
		r.ok(r.WriteData(1, false, []byte("x")))
	}
	r.ok(r.WriteData(1, true, nil))
	r.alive()
}

func TestCVE_2019_9513_PriorityFlood(t *testing.T) {
	attack(t, h2.Config{}, "inbound_priority_frames_flood", echo, func(r *raw) error {
		return r.WritePriority(3, http2.PriorityParam{StreamDep: 1})
	})
}

func TestWindowUpdateFlood(t *testing.T) {
	attack(t, h2.Config{}, "inbound_window_update_frames_flood", echo, func(r *raw) error {
		return r.WriteWindowUpdate(0, 1)
	})
}

// Streams ever opened earn no unlimited budget (envoy#45077), and the usual
// habits of clients stay below it.
func TestWindowUpdatesOfHonestClients(t *testing.T) {
	h, _ := requests()
	r, _ := rawClient(t, h2.Config{}, h)
	for id := uint32(1); id < 2000; id += 2 {
		r.headers(id, true, getLines()...)
		r.ok(r.WriteWindowUpdate(id, 1<<20)) // as curl does
		r.head(id)
	}
	r.alive()
}

func TestCVE_2023_44487_RapidReset(t *testing.T) {
	id := uint32(1)
	attack(t, h2.Config{}, "too_many_premature_resets", echo, func(r *raw) error {
		r.buf.Reset()
		err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.block(":method: CONNECT", ":authority: a:1"), EndHeaders: true})
		if err == nil {
			err = r.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		if id += 2; id > 2*300 {
			r.wantGoAway(http2.ErrCodeEnhanceYourCalm)
			r.wantEnd()
			return context.Canceled
		}
		return err
	})
}

func TestCVE_2025_8671_MadeYouReset(t *testing.T) {
	for name, provoke := range map[string]func(r *raw, id uint32) error{
		"WINDOW_UPDATE of 0": func(r *raw, id uint32) error {
			return r.WriteRawFrame(http2.FrameWindowUpdate, 0, id, make([]byte, 4))
		},
		"window overflow": func(r *raw, id uint32) error { return r.WriteWindowUpdate(id, 1<<31-1) },
		"trailers without an end": func(r *raw, id uint32) error {
			return r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.block("x: 1"), EndHeaders: true})
		},
		"PRIORITY of a wrong size": func(r *raw, id uint32) error { return r.WriteRawFrame(http2.FramePriority, 0, id, []byte{1}) },
	} {
		t.Run(name, func(t *testing.T) {
			id := uint32(1)
			attack(t, h2.Config{}, "too_many_premature_resets", echo, func(r *raw) error {
				err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.block(":method: CONNECT", ":authority: a:1"), EndHeaders: true})
				if err == nil {
					err = provoke(r, id)
				}
				id += 2
				return err
			})
		})
	}
}

// Streams that lived do not count, nor do ends in order.
func TestFB59ResetsOfHonestClients(t *testing.T) {
	h, seen := requests()
	cs, stats := newCounts()
	r, _ := rawClient(t, h2.Config{Stats: stats}, h)
	id := uint32(1)
	for range 600 {
		r.headers(id, true, getLines()...)
		next(t, seen)
		r.head(id)
		id += 2
	}
	for range 249 {
		r.connect(id)
		r.ok(r.WriteRSTStream(id, http2.ErrCodeCancel))
		id += 2
	}
	r.alive()
	cs.reaches(t, "too_many_premature_resets", 0)
}

func TestCVE_2024_27919_Continuations(t *testing.T) {
	t.Run("many", func(t *testing.T) {
		first := true
		attack(t, h2.Config{}, "header_overflow", echo, func(r *raw) error {
			if first {
				first = false
				return r.WriteRawFrame(http2.FrameHeaders, 0, 1, []byte{0x82})
			}
			return r.WriteContinuation(1, false, []byte{0x82})
		})
	})
	t.Run("large", func(t *testing.T) {
		first := true
		attack(t, h2.Config{}, "header_overflow", echo, func(r *raw) error {
			if first {
				first = false
				return r.WriteRawFrame(http2.FrameHeaders, 0, 1, make([]byte, 16<<10))
			}
			return r.WriteContinuation(1, false, make([]byte, 16<<10))
		})
	})
	t.Run("one huge frame", func(t *testing.T) {
		attack(t, h2.Config{}, "header_overflow", echo, func(r *raw) error {
			return r.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, make([]byte, 200<<10))
		})
	})
	t.Run("a few are served", func(t *testing.T) {
		h, seen := requests()
		r, _ := rawClient(t, h2.Config{}, h)
		block := r.block(getLines("a: 1", "b: 2")...)
		r.ok(r.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndStream, 1, block[:1]))
		for _, b := range block[1 : len(block)-1][:min(10, len(block)-2)] {
			r.ok(r.WriteContinuation(1, false, []byte{b}))
		}
		rest := block[1+min(10, len(block)-2):]
		r.ok(r.WriteContinuation(1, true, rest))
		if req := next(t, seen); req.Header.Get("b") != "2" {
			t.Errorf("served %+v", req)
		}
	})
}

// HPACK lets a few bytes stand for many (GHSA-p7c7-7c47-pwch is its QPACK kin):
// what counts is what they decode to.
func TestCVE_2026_47774_HPACKBomb(t *testing.T) {
	h, seen := requests()
	cs, stats := newCounts()
	r, _ := rawClient(t, h2.Config{Stats: stats, MaxHeaders: 1 << 20}, h)
	block := append([]byte(nil), r.block(getLines("cookie: "+string(make([]byte, 0, 1))+"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")...)...)
	for range 100_000 {
		block = append(block, 0xbe) // the newest entry of the dynamic table
	}
	r.ok(r.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndStream|http2.FlagHeadersEndHeaders, 1, block))
	r.wantReset(1, http2.ErrCodeEnhanceYourCalm)
	r.headers(3, true, getLines()...)
	next(t, seen)
	cs.reaches(t, "header_overflow", 1)
}

// Ending many streams at once is no flood of the peer's.
func TestFB26ManyResetsOfOurOwnAreNoFlood(t *testing.T) {
	const n = 1500
	h, streams := handOver(t)
	cc := pair(t, h2.Config{}, h2.Config{MaxConcurrentStreams: n}, h)
	open(t, cc) // the limit is known after this
	var all []codec.ClientStream
	for range n - 1 {
		st, err := cc.OpenStream(context.Background(), connectTo("a:1"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, st)
	}
	for range n {
		s := next(t, streams)
		defer close(s.done)
	}
	time.Sleep(time.Second) // not synchronisation: the streams must have lived prematureAge
	for _, st := range all {
		st.Reset(codec.CodeCancel, nil)
	}
	for range 100 {
		st, err := cc.OpenStream(context.Background(), connectTo("a:1"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.ReadResponse(context.Background()); err != nil {
			t.Fatal(err)
		}
		_ = st.CloseWrite()
		close(next(t, streams).done)
		_ = st.Close()
	}
}
