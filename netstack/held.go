package netstack

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// buffer bounds what the connection may hold in each direction, bytes. The endpoint
// is told, or it would go on making its buffers larger by itself.
func (c *conn) buffer(n int) {
	if n == 0 {
		return
	}
	o := c.ep.SocketOptions()
	o.SetSendBufferSize(min(int64(n), sendBuffer), true)
	o.SetReceiveBufferSize(min(int64(n), receiveBuffer), true)
}

// Held is what the stack holds of the connection, bytes: received and not read
// yet, written and not acknowledged yet.
func (c *conn) Held() int {
	if s := tcp.EndpointState(c.ep.State()); s == tcp.StateError || s == tcp.StateClose {
		return 0
	}
	received, err := c.ep.GetSockOptInt(tcpip.ReceiveQueueSizeOption)
	if err != nil {
		received = 0
	}
	return received + c.queued()
}

// queued is about what the send queue holds. A Write that waits says that it is
// full; else it is asked for, in halves.
func (c *conn) queued() int {
	o := c.ep.SocketOptions()
	if !c.writing.TryLock() {
		return int(o.GetSendBufferSize())
	}
	defer c.writing.Unlock()
	size := o.GetSendBufferSize()
	defer o.SetSendBufferSize(size, false)
	for n := size; n >= minBuffer; n /= 2 {
		o.SetSendBufferSize(n/2, false)
		if c.ep.Readiness(waiter.WritableEvents)&waiter.WritableEvents == 0 {
			return int(n)
		}
	}
	return 0
}
