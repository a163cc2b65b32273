package network

import (
	"sync/atomic"
	"time"
)

// Meter counts what a Relay moves, live: it is the flow table, the idle timer
// and the access log's byte counts. Its methods are safe from any goroutine.
// The zero Meter is ready.
type Meter struct {
	received atomic.Uint64         // downstream to upstream, bytes
	sent     atomic.Uint64         // upstream to downstream, bytes
	active   atomic.Int64          // last activity, monotonic ns since the meter's epoch
	relay    atomic.Pointer[relay] // while one moves the bytes
}

// Received adds n bytes that came from downstream.
func (m *Meter) Received(n int) { m.received.Add(uint64(n)); m.Touch() }

// Sent adds n bytes that went to downstream.
func (m *Meter) Sent(n int) { m.sent.Add(uint64(n)); m.Touch() }

// Touch marks activity without bytes.
func (m *Meter) Touch() { m.active.Store(monotonic()) }

// BytesReceived is what came from downstream so far (Envoy's BYTES_RECEIVED).
func (m *Meter) BytesReceived() uint64 { return m.received.Load() }

// BytesSent is what went to downstream so far (Envoy's BYTES_SENT).
func (m *Meter) BytesSent() uint64 { return m.sent.Load() }

// Idle is the time since the last activity; 0 if there was none yet.
func (m *Meter) Idle() time.Duration {
	at := m.active.Load()
	if at == 0 {
		return 0
	}
	return time.Duration(monotonic() - at)
}
