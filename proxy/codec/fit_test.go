package codec_test

import (
	"context"

	"culvert/proxy/codec"
	"culvert/proxy/network"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// This file proves by compiling that the seams do not bend when HTTP/3 and UDP
// arrive: quic-go's streams have every verb codec.Stream asks for, and a
// datagram flow has its place beside them.

// h3Stream is the verbs of codec.Stream made of a quic-go stream.
type h3Stream struct {
	raw interface {
		Read([]byte) (int, error)
		Write([]byte) (int, error)
		Close() error // FIN of the sending side only
		CancelRead(quic.StreamErrorCode)
		CancelWrite(quic.StreamErrorCode)
		Context() context.Context
		StreamID() quic.StreamID
		SendDatagram([]byte) error
		ReceiveDatagram(context.Context) ([]byte, error)
	}
}

func (s h3Stream) Read(p []byte) (int, error)  { return s.raw.Read(p) }
func (s h3Stream) Write(p []byte) (int, error) { return s.raw.Write(p) }
func (s h3Stream) CloseWrite() error           { return s.raw.Close() }
func (s h3Stream) Context() context.Context    { return s.raw.Context() }
func (s h3Stream) ID() uint64                  { return uint64(s.raw.StreamID()) }
func (s h3Stream) Proto() codec.Proto          { return codec.HTTP3 }

func (s h3Stream) Reset(codec.Code, error) {
	s.raw.CancelRead(quic.StreamErrorCode(http3.ErrCodeConnectError))
	s.raw.CancelWrite(quic.StreamErrorCode(http3.ErrCodeConnectError))
}

func (s h3Stream) ReadDatagram(ctx context.Context) ([]byte, error) {
	return s.raw.ReceiveDatagram(ctx)
}
func (s h3Stream) WriteDatagram(p []byte) error { return s.raw.SendDatagram(p) }

func clientFits(ctx context.Context, cc *http3.ClientConn) (h3Stream, error) {
	rs, err := cc.OpenRequestStream(ctx)
	if err != nil {
		return h3Stream{}, err
	}
	return h3Stream{raw: rs}, nil
}

func serverFits(w http3.HTTPStreamer) (h3Stream, error) {
	s, err := w.HTTPStream()
	if err != nil {
		return h3Stream{}, err
	}
	return h3Stream{raw: s}, nil
}

// packetConn is a datagram flow over an HTTP stream, as CONNECT-UDP will be.
type packetConn struct{ codec.DatagramStream }

func (p packetConn) ReadPacket(ctx context.Context, b []byte) (int, error) {
	d, err := p.ReadDatagram(ctx)
	return copy(b, d), err
}
func (p packetConn) WritePacket(b []byte) error { return p.WriteDatagram(b) }
func (p packetConn) MaxPacket() int             { return 1200 }

var (
	_ network.PacketConn = packetConn{}
	_                    = clientFits
	_                    = serverFits
	_ interface {
		ReadDatagram(context.Context) ([]byte, error)
		WriteDatagram([]byte) error
	} = h3Stream{}
)
