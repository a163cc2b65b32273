package h2_test

import (
	"testing"
	"time"

	"culvert/proxy/codec/h2"
	"culvert/proxy/network"

	"golang.org/x/net/http2"
)

// distantConn says that its peer is far away.
type distantConn struct{ network.Conn }

func (distantConn) RoundTrip() time.Duration { return testTime }

// The peer is told by how much its window has grown, may use all of that, and no
// byte more.
func TestGrownWindowIsKept(t *testing.T) {
	const window, grown = 1 << 20, 2 << 20
	h, streams := handOver(t)
	a, b := socketPair(t)
	server(t, t.Context(), distantConn{b}, h2.Config{MayGrow: func() bool { return true }}, h)
	r := newRaw(t, a)
	r.bytes([]byte(http2.ClientPreface))
	r.ok(r.WriteSettings())
	r.ok(r.WriteSettingsAck())
	r.connect(1)
	s := next(t, streams)
	r.head(1)
	send := func(n int) {
		for block := make([]byte, 256<<10); n > 0; n -= len(block) {
			block = block[:min(n, len(block))]
			r.ok(r.WriteData(1, false, block))
		}
	}
	send(window)
	r.alive() // all has arrived
	if n, err := s.Read(make([]byte, window)); n != window || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	told := 0
	for told < grown {
		told += int(r.until(func(f http2.Frame) bool {
			u, ok := f.(*http2.WindowUpdateFrame)
			return ok && u.StreamID == 1
		}).(*http2.WindowUpdateFrame).Increment)
	}
	if told != grown {
		t.Fatalf("it was told of %d, want what it has sent and a window more: %d", told, grown)
	}
	send(grown)
	r.alive()
	send(1)
	r.wantReset(1, http2.ErrCodeFlowControl)
}
