package internallisteners

import (
	"context"

	"culvert/proxy/network"
)

// Dialer connects to internal listeners through pipes, for those who write bytes
// themselves: an HTTP client, a transport socket. It is immutable.
type Dialer struct {
	life  context.Context // of the connections
	size  int
	flows *network.FlowTable
	hold  func() (release func())
}

// NewDialer makes a dialer. Connections end with life at the latest. size is
// what each direction of one may hold, in bytes (0: DefaultPipeSize); it is
// buffer_size_kb of the bootstrap extension. flows shows the connections; may be
// nil. hold, which may be nil too, is called for each of them; what it returns is
// called when nothing of the connection's inner side is left, its entry in flows
// included.
func NewDialer(life context.Context, size int, flows *network.FlowTable, hold func() (release func())) *Dialer {
	if hold == nil {
		hold = func() func() { return func() {} }
	}
	return &Dialer{life: life, size: size, flows: flows, hold: hold}
}

// Dial connects to a handler. info is the inner flow's, and this connection's
// alone. It returns when the handler has accepted, with the client's end, which
// is the caller's to close; or with the cause of its refusal, or of the end of
// ctx, which bounds the wait only.
func (d *Dialer) Dial(ctx context.Context, h network.Handler, info *network.StreamInfo) (network.Conn, error) {
	release := d.hold()
	if d.flows != nil {
		d.flows.Add(info)
	}
	return Dial(ctx, d.life, h, info, d.size, func(error) {
		if d.flows != nil {
			d.flows.Remove(info)
		}
		release()
	})
}

// BufferSize is what a pipe holds for a buffer_size_kb, in bytes; 0 is not set.
func BufferSize(kb uint32) int {
	if kb == 0 {
		return DefaultPipeSize
	}
	return int(kb) << 10
}
