package h2_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"

	"golang.org/x/net/http2"
)

// What a connection did in order buys no flood later (as in envoy#45077): it
// ends as soon as half of what is recent was reset early.
func TestManyGoodStreamsPayForNoFlood(t *testing.T) {
	const good, resets = 5000, 600
	cs, stats := newCounts()
	answered := func(_ context.Context, s codec.ServerStream) {
		if s.Request().Method == "GET" {
			_ = s.WriteResponse(&codec.Response{Status: 200, EndStream: true})
			return
		}
		<-s.Context().Done() // or it might be us who ends it
	}
	r, wait := rawClient(t, h2.Config{Stats: stats}, answered)
	id := uint32(1)
	for range good {
		r.headers(id, true, getLines()...)
		r.head(id)
		id += 2
	}
	for range resets {
		r.connect(id)
		r.ok(r.WriteRSTStream(id, http2.ErrCodeCancel))
		id += 2
	}
	r.wantGoAway(http2.ErrCodeEnhanceYourCalm)
	_ = r.nc.Close()
	if code := connErrorCode(t, wait()); code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("connection ended with %v", code)
	}
	if n := cs.get("too_many_premature_resets"); n != 1 {
		t.Errorf("too_many_premature_resets = %d", n)
	}
}

// A client of whose streams fewer than half are reset early may go on for ever.
func TestAFewEarlyResetsForEver(t *testing.T) {
	h, _ := requests()
	r, _ := rawClient(t, h2.Config{}, func(ctx context.Context, s codec.ServerStream) {
		if s.Request().Method == "GET" {
			h(ctx, s)
		}
	})
	id := uint32(1)
	for n := range 2000 {
		if n%5 < 2 { // two of five
			r.connect(id)
			r.ok(r.WriteRSTStream(id, http2.ErrCodeCancel))
		} else {
			r.headers(id, true, getLines()...)
			r.head(id)
		}
		id += 2
	}
	r.alive()
}

// Beyond a burst, early resets are read no faster than one in two milliseconds,
// whatever made them: who floods does not get the processor.
func TestEarlyResetsAreReadSlowly(t *testing.T) {
	const resets, burst, pause = 200, 64, 2 * time.Millisecond
	for name, provoke := range map[string]func(r *raw, id uint32){
		"by the client": func(r *raw, id uint32) { r.ok(r.WriteRSTStream(id, http2.ErrCodeCancel)) },
		"by the server": func(r *raw, id uint32) { r.ok(r.WriteRawFrame(http2.FrameWindowUpdate, 0, id, make([]byte, 4))) },
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := rawClient(t, h2.Config{}, func(_ context.Context, s codec.ServerStream) { <-s.Context().Done() })
			r.alive()
			began := time.Now()
			for id := uint32(1); id < 2*resets; id += 2 {
				r.connect(id)
				provoke(r, id)
			}
			r.alive()
			if took := time.Since(began); took < (resets-burst-1)*pause {
				t.Errorf("%d early resets took %v", resets, took)
			}
		})
	}
}

// A client that knows how many streams it may have, and goes on opening more, is
// thrown out like one that resets them; one that has not seen the limit is not.
func TestStreamsBeyondAKnownLimit(t *testing.T) {
	const limit, beyond = 4, 300
	for _, known := range []bool{true, false} {
		t.Run(fmt.Sprintf("known %v", known), func(t *testing.T) {
			cs, stats := newCounts()
			a, b := socketPair(t)
			wait := server(t, context.Background(), b, h2.Config{MaxConcurrentStreams: limit, Stats: stats}, echo)
			r := newRaw(t, a)
			r.bytes([]byte(http2.ClientPreface))
			r.ok(r.WriteSettings())
			if known {
				r.ok(r.WriteSettingsAck())
			}
			for id := uint32(1); id < 2*(limit+beyond); id += 2 {
				r.connect(id)
			}
			if !known {
				r.alive()
				return
			}
			r.wantGoAway(http2.ErrCodeEnhanceYourCalm)
			_ = a.Close()
			_ = wait()
			if n := cs.get("too_many_premature_resets"); n != 1 {
				t.Errorf("too_many_premature_resets = %d", n)
			}
		})
	}
}
