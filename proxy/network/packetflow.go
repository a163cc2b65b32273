package network

import "context"

// PacketConn is a datagram association with one peer: a captured UDP 4-tuple,
// a connected UDP socket, a CONNECT-UDP stream. Datagrams may be lost and
// reordered; they are never split or joined.
type PacketConn interface {
	// ReadPacket waits for the next datagram and copies it into p; what does
	// not fit is lost. n is the datagram's length as copied.
	ReadPacket(ctx context.Context, p []byte) (n int, err error)
	// WritePacket sends one datagram. A full queue drops it and returns nil:
	// UDP promises no more.
	WritePacket(p []byte) error
	// MaxPacket is the largest payload in bytes that WritePacket can carry.
	MaxPacket() int
	// Close ends the association.
	Close() error
}

// PacketFlow is a datagram association not yet answered, the counterpart of
// Flow. The datagrams that opened it are the first that ReadPacket returns.
type PacketFlow interface {
	Info() *StreamInfo
	Accept(ctx context.Context) (PacketConn, error)
	// Reject answers no: ICMP port unreachable or prohibited, by VerdictFor.
	Reject(cause error)
	Context() context.Context
}

// PacketHandler serves a PacketFlow to its end.
type PacketHandler interface {
	ServePacketFlow(ctx context.Context, f PacketFlow) error
}
