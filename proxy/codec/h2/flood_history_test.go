package h2_test

import (
	"context"
	"testing"

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
		}
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
	cs.reaches(t, "too_many_premature_resets", 1)
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
	for n := range 4000 {
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
