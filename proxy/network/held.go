package network

// ErrOverload is why a flow is refused or ended when memory is short. It answers
// errors.Is.
var ErrOverload error = overload{}

type overload struct{}

func (overload) Error() string         { return "overload manager: memory is short" }
func (overload) Flag() Flag            { return FlagOM }
func (overload) ConnectReason() Reason { return ReasonOverflow }

// Holder is an end that knows what it holds in memory for who is slow to take
// it, in bytes.
type Holder interface{ Held() int }

// HeldBy is what c, or the end beneath it, holds; 0 where it cannot say, as
// where the kernel holds it.
func HeldBy(c Conn) int {
	if h, ok := Beneath[Holder](c); ok {
		return h.Held()
	}
	return 0
}

// Held is what the flow's ends hold while it is relayed, and what is on its way
// between them, else 0.
func (m *Meter) Held() int {
	if r := m.relay.Load(); r != nil {
		return HeldBy(r.down.Conn) + r.down.path.held() + HeldBy(r.up.Conn) + r.up.path.held()
	}
	return 0
}

// Abort ends the flow if it is being relayed.
func (m *Meter) Abort(cause error) {
	if r := m.relay.Load(); r != nil {
		r.abort(cause)
	}
}
