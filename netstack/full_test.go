package netstack

import (
	"testing"

	"culvert/netstack/netstacktest"
	"culvert/proxy/network"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Where all places are taken, new SYNs are dropped before the stack has them, and
// what was answered before is answered again.
func TestFullGate(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Deps) { c.MaxPendingConnects, c.MaxPendingPerSource = 1, 1 })
	first, second := families()[0], families()[1]
	r.send(netstacktest.SYN(first.src, first.dst, isn))
	r.arrive().finish(t, func(f network.Flow) error {
		f.Reject(network.WithReason(network.ReasonConnectionRefused, nil))
		return nil
	})
	r.nextOf(first, header.TCPFlagRst|header.TCPFlagAck)
	r.send(netstacktest.SYN(second.src, second.dst, isn))
	r.arrive() // and stays
	seen := r.stack.stack.Stats().IP.PacketsReceived.Value()
	for range 10 {
		r.send(netstacktest.SYN(first.dst, first.src, isn))
	}
	r.send(netstacktest.SYN(first.src, first.dst, isn))
	r.nextOf(first, header.TCPFlagRst|header.TCPFlagAck)
	st := r.stack.Stats()
	if st.Replayed != 1 || st.SynRetransmitted != 1 || st.SynDroppedPendingLimit != 10 || st.Pending != 1 {
		t.Errorf("stats %+v", st)
	}
	if n := r.stack.stack.Stats().IP.PacketsReceived.Value() - seen; n > 1 {
		t.Errorf("the stack was given %d packets, want the retransmission", n)
	}
}
