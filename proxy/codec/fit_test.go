package codec_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// This file proves by compiling that the seams do not bend when HTTP/3 and UDP
// arrive: both roles of an HTTP/3 stream are made of what quic-go has, whole,
// and a datagram flow is made of such a stream. The one verb that quic-go lacks
// is trailers on a stream that was taken over; see WriteTrailers.

// rawStream is what quic-go's streams of both roles have.
type rawStream interface {
	io.ReadWriteCloser // Close is FIN of the sending side only
	CancelRead(quic.StreamErrorCode)
	CancelWrite(quic.StreamErrorCode)
	Context() context.Context
	StreamID() quic.StreamID
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	SendDatagram([]byte) error
	ReceiveDatagram(context.Context) ([]byte, error)
}

// h3Stream is codec.Stream made of a quic-go stream.
type h3Stream struct {
	raw           rawStream
	connection    uint64
	local, remote net.Addr
	trailers      codec.Fields
}

func (s *h3Stream) ID() uint64                         { return uint64(s.raw.StreamID()) }
func (s *h3Stream) ConnectionID() uint64               { return s.connection }
func (s *h3Stream) Proto() codec.Proto                 { return codec.HTTP3 }
func (s *h3Stream) Read(p []byte) (int, error)         { return s.raw.Read(p) }
func (s *h3Stream) Write(p []byte) (int, error)        { return s.raw.Write(p) }
func (s *h3Stream) CloseWrite() error                  { return s.raw.Close() }
func (s *h3Stream) Trailers() codec.Fields             { return s.trailers }
func (s *h3Stream) Context() context.Context           { return s.raw.Context() }
func (s *h3Stream) SetReadDeadline(t time.Time) error  { return s.raw.SetReadDeadline(t) }
func (s *h3Stream) SetWriteDeadline(t time.Time) error { return s.raw.SetWriteDeadline(t) }
func (s *h3Stream) LocalAddress() network.Address      { return network.AddressOf(s.local) }
func (s *h3Stream) RemoteAddress() network.Address     { return network.AddressOf(s.remote) }

// WriteTrailers ends the direction without them: a stream that was taken over
// takes none, and RFC 9110 §6.5 lets whoever forwards drop them.
func (s *h3Stream) WriteTrailers(codec.Fields) error { return s.raw.Close() }

func (s *h3Stream) Reset(code codec.Code, _ error) {
	numbers := map[codec.Code]http3.ErrCode{
		codec.CodeNoError: http3.ErrCodeNoError, codec.CodeProtocol: http3.ErrCodeGeneralProtocolError,
		codec.CodeInternal: http3.ErrCodeInternalError, codec.CodeRefused: http3.ErrCodeRequestRejected,
		codec.CodeCancel: http3.ErrCodeRequestCanceled, codec.CodeConnect: http3.ErrCodeConnectError,
		codec.CodeExcessiveLoad: http3.ErrCodeExcessiveLoad,
	}
	s.raw.CancelRead(quic.StreamErrorCode(numbers[code]))
	s.raw.CancelWrite(quic.StreamErrorCode(numbers[code]))
}

func (s *h3Stream) Close() error {
	s.Reset(codec.CodeCancel, nil)
	return nil
}

func (s *h3Stream) ReadDatagram(ctx context.Context) ([]byte, error) {
	return s.raw.ReceiveDatagram(ctx)
}
func (s *h3Stream) WriteDatagram(p []byte) error { return s.raw.SendDatagram(p) }

// h3Client is the requesting side.
type h3Client struct {
	h3Stream
	request *http3.RequestStream
}

// openClient is what an opener does for HTTP/3.
func openClient(ctx context.Context, cc *http3.ClientConn, connection uint64, head *codec.Request) (codec.ClientStream, error) {
	rs, err := cc.OpenRequestStream(ctx)
	if err != nil {
		return nil, err
	}
	s := &h3Client{h3Stream{raw: rs, connection: connection, local: cc.LocalAddr(), remote: cc.RemoteAddr()}, rs}
	req := &http.Request{Method: head.Method, Host: head.Authority, Proto: head.Protocol, Header: http.Header{}}
	for _, f := range head.Header {
		req.Header.Add(f.Name, f.Value)
	}
	if err := rs.SendRequestHeader(req); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *h3Client) ReadResponse(ctx context.Context) (*codec.Response, error) {
	stop := context.AfterFunc(ctx, func() { _ = s.request.SetReadDeadline(time.Now()) })
	defer stop()
	res, err := s.request.ReadResponse()
	if err != nil {
		return nil, errors.Join(err, context.Cause(ctx))
	}
	return &codec.Response{Status: res.StatusCode, Header: fieldsOf(res.Header)}, nil
}

// h3Server is the answering side: the request's body until the head is sent,
// the stream from then on.
type h3Server struct {
	h3Stream
	w       http.ResponseWriter
	request *http.Request
	taken   bool
}

// serve is how an http3.Server's handler comes to be a codec.ServerHandler.
func serve(h codec.ServerHandler, connection uint64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		remote, _ := netip.ParseAddrPort(r.RemoteAddr)
		h(r.Context(), &h3Server{
			h3Stream: h3Stream{connection: connection, local: local, remote: net.UDPAddrFromAddrPort(remote)}, w: w, request: r,
		})
	})
}

func (s *h3Server) Request() *codec.Request {
	return &codec.Request{Proto: codec.HTTP3, Method: s.request.Method, Authority: s.request.Host, Header: fieldsOf(s.request.Header)}
}

func (s *h3Server) Read(p []byte) (int, error) {
	if !s.taken {
		return s.request.Body.Read(p)
	}
	return s.h3Stream.Read(p)
}

func (s *h3Server) Context() context.Context { return s.request.Context() }

func (s *h3Server) WriteResponse(res *codec.Response) error {
	for _, f := range res.Header {
		s.w.Header().Add(f.Name, f.Value)
	}
	s.w.WriteHeader(res.Status)
	if res.Informational() {
		return nil
	}
	return s.take()
}

// take is the stream itself, once the head is out; or without one, to reset it.
func (s *h3Server) take() error {
	streamer, ok := s.w.(http3.HTTPStreamer)
	if !ok {
		return errors.New("not an HTTP/3 response")
	}
	raw, err := streamer.HTTPStream()
	if err == nil {
		s.raw, s.taken = raw, true
	}
	return err
}

func (s *h3Server) Reset(code codec.Code, cause error) {
	if s.taken || s.take() == nil {
		s.h3Stream.Reset(code, cause)
	}
}

func fieldsOf(h http.Header) (out codec.Fields) {
	for name, values := range h {
		for _, v := range values {
			out.Add(name, v)
		}
	}
	return out
}

// packetFlow is a CONNECT-UDP that arrived, not yet answered.
type packetFlow struct {
	codec.ServerStream
	datagrams codec.DatagramStream
	info      *network.StreamInfo
}

func newPacketFlow(s interface {
	codec.ServerStream
	codec.DatagramStream
}, info *network.StreamInfo) network.PacketFlow {
	return &packetFlow{s, s, info}
}

func (f *packetFlow) Info() *network.StreamInfo { return f.info }
func (f *packetFlow) Context() context.Context  { return f.ServerStream.Context() }

func (f *packetFlow) Accept(context.Context) (network.PacketConn, error) {
	return packetConn{f.datagrams}, f.WriteResponse(&codec.Response{Status: 200})
}

func (f *packetFlow) Reject(cause error) {
	_ = f.WriteResponse(&codec.Response{Status: network.ReasonFor(cause).Status(), EndStream: true})
}

// packetConn is datagrams over an HTTP stream, after their context ID, 0 (RFC
// 9298 §5).
type packetConn struct{ codec.DatagramStream }

func (p packetConn) ReadPacket(ctx context.Context, b []byte) (int, error) {
	d, err := p.ReadDatagram(ctx)
	if err != nil || len(d) == 0 {
		return 0, err
	}
	return copy(b, d[1:]), nil
}

func (p packetConn) WritePacket(b []byte) error {
	return p.WriteDatagram(append([]byte{0}, b...))
}

func (p packetConn) MaxPacket() int { return 1200 }

var (
	_ codec.Stream         = (*h3Stream)(nil)
	_ codec.DatagramStream = (*h3Stream)(nil)
	_ codec.ClientStream   = (*h3Client)(nil)
	_ codec.DatagramStream = (*h3Client)(nil)
	_ codec.ServerStream   = (*h3Server)(nil)
	_ codec.DatagramStream = (*h3Server)(nil)
	_ network.PacketConn   = packetConn{}
	_ network.PacketFlow   = newPacketFlow((*h3Server)(nil), nil)
	_                      = openClient
	_                      = serve
)
