package netstacktest_test

import (
	"net/netip"
	"strings"
	"testing"

	"culvert/netstack/netstacktest"
	"culvert/test/need"
	"culvert/test/scale"
)

// Malformed packets are given back like all others, whatever becomes of them.
func TestLoadMalformedPacketsAreGivenBack(t *testing.T) {
	need.Long(t)
	const between = 500
	packets := scale.Of(10_000, 200_000)
	near, far := netstacktest.NewPair()
	w := netstacktest.NewWire(t, near)
	s := run(t, far)
	to := netip.AddrPortFrom(netip.MustParseAddr("203.0.113.7"), portRefused)
	m := netstacktest.NewMangler(2, to, netip.MustParseAddrPort("[2001:db8::7]:5"))
	for n := 1; n <= packets; n++ {
		w.SendFrame(m.Next())
		if n%between == 0 {
			wait(t, func() bool { return s.Stats().Link.RxPackets == uint64(n) })
			for w.Pending() > 0 {
				w.Next()
			}
		}
	}
	s.Close()
	if report := leaked(); strings.Contains(report, "PacketBuffer") || strings.Contains(report, "chunk") {
		t.Error(report)
	}
}
