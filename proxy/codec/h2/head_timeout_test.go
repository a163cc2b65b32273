package h2_test

import (
	"sync/atomic"
	"testing"
	"time"

	"culvert/proxy/codec/h2"

	"golang.org/x/net/http2"
)

// A request whose head does not come in time is answered, and the connection
// goes on once the head has ended; it ends where the head has no end.
func TestHeadTimeout(t *testing.T) {
	for name, ends := range map[string]bool{"the head ends late": true, "it never does": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var expired atomic.Int64
			cfg := h2.Config{HeadTimeout: 100 * time.Millisecond, HeadTimedOut: func() { expired.Add(1) }}
			if ends {
				cfg.HeadTimeout = 5 * time.Second // there is as long again for the rest
			}
			r, wait := rawClient(t, cfg, echo)
			block := r.block(":method: CONNECT", ":authority: example.com:443")
			r.ok(r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:3]}))
			if got := r.head(1)[":status"]; got != "408" {
				t.Errorf("status %s, want 408", got)
			}
			r.wantReset(1, http2.ErrCodeNo)
			if !ends {
				r.wantGoAway(http2.ErrCodeEnhanceYourCalm)
				r.wantEnd()
				if code := connErrorCode(t, wait()); code != http2.ErrCodeEnhanceYourCalm {
					t.Errorf("it ended with %v", code)
				}
				return
			}
			r.ok(r.WriteContinuation(1, true, block[3:]))
			r.connect(3)
			if got := r.head(3)[":status"]; got != "200" {
				t.Errorf("the next request: %s", got)
			}
			for deadline := time.Now().Add(testTime); expired.Load() == 0 && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond) // it may be called behind the answer
			}
			if n := expired.Load(); n != 1 {
				t.Errorf("HeadTimedOut was called %d times", n)
			}
		})
	}
}

// A head in several frames that comes in time is served as any other.
func TestHeadInTime(t *testing.T) {
	r, _ := rawClient(t, h2.Config{HeadTimeout: time.Minute, HeadTimedOut: func() { t.Error("it has expired") }}, echo)
	block := r.block(":method: CONNECT", ":authority: example.com:443")
	r.ok(r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:3]}))
	r.ok(r.WriteContinuation(1, true, block[3:]))
	if got := r.head(1)[":status"]; got != "200" {
		t.Errorf("status %s", got)
	}
}
