package network

import "sync/atomic"

// WireMeter counts what one exchange of HTTP costs on its connection, in one
// role. Its codec makes and writes it; anybody may read it, while the exchange
// lives and after. It holds on to nothing of the stream.
//
// Counted are the bytes of the exchange's own messages as they are framed, above
// TLS. HTTP/1.1: heads, the body with what delimits its chunks, trailers.
// HTTP/2: HEADERS, CONTINUATION and DATA frames with their nine bytes of frame
// header and with padding; not the frames that control a connection, nor
// RST_STREAM and WINDOW_UPDATE. What is sent counts when it is handed to the
// connection. Header bytes, a part of the wire's, are those of heads,
// informational ones too, and of trailers.
//
// The payload of an HTTP/1.1 tunnel is not a message's: it may move beneath the
// codec. Once Raw was called it is what the flow's Meter has.
type WireMeter struct {
	sent, received             atomic.Uint64
	headerSent, headerReceived atomic.Uint64
	raw                        atomic.Bool
}

// Sent adds n bytes of any kind that were sent.
func (m *WireMeter) Sent(n int) { m.sent.Add(uint64(n)) }

// Received adds n bytes of any kind that have come.
func (m *WireMeter) Received(n int) { m.received.Add(uint64(n)) }

// HeaderSent tells of n of the bytes sent that they were of a head or trailers.
func (m *WireMeter) HeaderSent(n int) { m.headerSent.Add(uint64(n)) }

// HeaderReceived is HeaderSent for what has come.
func (m *WireMeter) HeaderReceived(n int) { m.headerReceived.Add(uint64(n)) }

// Raw says that what follows is a tunnel's payload, which the meter does not
// see.
func (m *WireMeter) Raw() { m.raw.Store(true) }

// WireBytes are bytes on the wire: Sent by us to that side and Received from it,
// and how many of them were of heads and trailers.
type WireBytes struct{ Sent, Received, HeaderSent, HeaderReceived uint64 }

// bytes are what m counted, and what payload counts for, of which only it
// knows.
func (m *WireMeter) bytes(sent, received uint64) WireBytes {
	b := WireBytes{m.sent.Load(), m.received.Load(), m.headerSent.Load(), m.headerReceived.Load()}
	if m.raw.Load() {
		b.Sent += sent
		b.Received += received
	}
	return b
}

// DownstreamBytes are the bytes of the flow on the client's side: those of its
// HTTP stream, or the payload itself where there is none.
func (s *StreamInfo) DownstreamBytes() WireBytes {
	sent, received := s.Meter.BytesSent(), s.Meter.BytesReceived()
	if s.Wire == nil {
		return WireBytes{Sent: sent, Received: received}
	}
	return s.Wire.bytes(sent, received)
}

// UpstreamBytes are the bytes of the last attempt on the upstream's side: those
// of its HTTP stream, or the payload itself where there is none. A PROXY header
// that was sent for the flow is among the header bytes.
func (s *StreamInfo) UpstreamBytes() WireBytes {
	u := s.Upstream()
	if u == nil || u.RemoteAddress.IsZero() {
		return WireBytes{} // picked, not connected
	}
	sent, received := s.Meter.BytesReceived(), s.Meter.BytesSent()
	if u.Wire == nil {
		return WireBytes{Sent: sent, Received: received}
	}
	return u.Wire.bytes(sent, received)
}

// Introduced notes that n bytes which speak of the flow were sent to its
// upstream ahead of its payload.
func (s *StreamInfo) Introduced(n int) {
	u := s.Upstream()
	if u == nil {
		return
	}
	with := *u
	with.Wire = &WireMeter{}
	with.Wire.Sent(n)
	with.Wire.HeaderSent(n)
	with.Wire.Raw()
	s.SetUpstream(&with)
}
