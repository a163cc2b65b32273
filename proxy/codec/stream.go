package codec

import (
	"context"
	"time"

	"culvert/proxy/network"
)

// Code is why a stream is reset, neutral between versions. Where a version has
// no such code the nearest is sent.
type Code uint8

// The codes; HTTP/2 (RFC 9113 §7) and HTTP/3 (RFC 9114 §8.1) numbers beside.
const (
	CodeNoError       Code = iota // 0x0 / 0x100
	CodeProtocol                  // 0x1 / 0x101: the peer broke a rule
	CodeInternal                  // 0x2 / 0x102
	CodeRefused                   // 0x7 / 0x10b: not processed, safe to retry
	CodeCancel                    // 0x8 / 0x10c: no longer wanted
	CodeConnect                   // 0xa / 0x10f: the tunnelled connection was reset
	CodeExcessiveLoad             // 0xb / 0x107
)

// Stream is one HTTP exchange's bytes in both directions, in the role of either
// side. Read returns io.EOF after the peer's END_STREAM (trailers are then in
// Trailers), and a *network.ResetError in the chain after a reset; bytes that
// came before either are read first. One goroutine may read while another
// writes. Every stream ends in Close.
type Stream interface {
	// ID is the stream's number on its connection; ConnectionID the
	// connection's, unique in the process.
	ID() uint64
	ConnectionID() uint64
	Proto() Proto

	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	// CloseWrite ends our direction: END_STREAM, or the last chunk.
	CloseWrite() error
	// WriteTrailers ends our direction with trailers.
	WriteTrailers(t Fields) error
	// Trailers are the peer's, after Read returned io.EOF; nil if none came.
	Trailers() Fields
	// Reset ends both directions with a code; later Reads and Writes return
	// cause. After both directions ended it does nothing.
	Reset(code Code, cause error)
	// Close releases the stream; if a direction is still open it is a Reset
	// with CodeCancel.
	Close() error
	// Context ends when the stream does: reset by either side, connection
	// lost, or both directions over. Its cause says which.
	Context() context.Context

	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	LocalAddress() network.Address
	RemoteAddress() network.Address
}

// ClientStream is the requesting side; its request head is already sent.
type ClientStream interface {
	Stream
	// ReadResponse waits for the next head: informational ones as they come,
	// then the final one. ctx bounds the wait only.
	ReadResponse(ctx context.Context) (*Response, error)
}

// ServerStream is the answering side. A stream also reads as chunks
// (network.ChunkReader, network.ChunkWriter) where its codec can.
type ServerStream interface {
	Stream
	Request() *Request
	// WriteResponse sends a head: informational ones any number of times, then
	// the final one. res.EndStream ends our direction with it.
	WriteResponse(res *Response) error
}

// ServerHandler serves one request of a connection, on a goroutine of its own.
// The codec resets the stream if it returns with a direction still open. ctx
// has the connection's values and ends when we close the connection under its
// streams; a relay uses it. It does not end with the stream, or a reset would
// overtake what was sent before it: a dial made for the stream uses s.Context.
type ServerHandler func(ctx context.Context, s ServerStream)

// Wire is the meter of a stream's bytes on its connection, nil where its codec
// has none.
func Wire(s Stream) *network.WireMeter {
	if m, ok := s.(interface{ Wire() *network.WireMeter }); ok {
		return m.Wire()
	}
	return nil
}

// AfterEnd calls f, on a goroutine of its own, once s has ended, as
// context.AfterFunc of its Context would, but where its codec can for less. Who
// waits is one at a time.
func AfterEnd(s Stream, f func()) (stop func() bool) {
	if e, ok := s.(interface{ AfterEnd(func()) func() bool }); ok {
		return e.AfterEnd(f)
	}
	return context.AfterFunc(s.Context(), f)
}

// DatagramStream is a stream that also carries HTTP datagrams (RFC 9297), for
// CONNECT-UDP: HTTP/3 in QUIC datagrams, else as capsules on the stream.
type DatagramStream interface {
	Stream
	// ReadDatagram waits for the next HTTP datagram payload, which begins with
	// its context ID.
	ReadDatagram(ctx context.Context) ([]byte, error)
	// WriteDatagram sends one; too large a datagram is dropped with an error.
	WriteDatagram(p []byte) error
}

// Opener opens a stream to an upstream and sends the request's head: a
// cluster's pool. The stream is the caller's to Close.
type Opener interface {
	OpenStream(ctx context.Context, head *Request, info *network.StreamInfo) (ClientStream, error)
}
