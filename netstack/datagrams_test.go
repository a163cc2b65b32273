package netstack

import (
	"bytes"
	"net/netip"
	"testing"

	"culvert/netstack/netstacktest"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

func TestUDPIsUnreachable(t *testing.T) {
	r := newRig(t, nil)
	for _, e := range families() {
		r.wire.Send(netstacktest.UDP(e.src, e.dst, []byte("hello")))
		p := r.wire.Next()
		typ, code := uint8(header.ICMPv4DstUnreachable), uint8(header.ICMPv4PortUnreachable)
		if e.dst.Addr().Is6() {
			typ, code = uint8(header.ICMPv6DstUnreachable), uint8(header.ICMPv6PortUnreachable)
		}
		if p.Type != typ || p.Code != code || !p.ChecksumOK || p.Src.Addr() != e.dst.Addr() || p.Dst.Addr() != e.src.Addr() {
			t.Errorf("%s: %+v", e.name, p)
		}
	}
	r.stack.icmpLimit.SetBurst(0)
	r.wire.Send(netstacktest.UDP(families()[0].src, families()[0].dst, nil))
	r.quiet()
	eventually(t, "all to be counted", func() bool { st := r.stack.Stats(); return st.UDPUnreachable == 2 && st.ICMPWithheld == 1 })
}

func TestEchoOnlyForAddressesInside(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Deps) {
		c.Addresses = []netip.Prefix{netip.MustParsePrefix("198.18.0.8/29"), netip.MustParsePrefix("fd00:198:18::a/128")}
	})
	for _, c := range []struct {
		src, dst string
		answered bool
	}{
		{"10.9.0.2", "198.18.0.10", true},
		{"fd09::2", "fd00:198:18::a", true},
		{"10.9.0.2", "198.18.0.1", false},
		{"10.9.0.2", "203.0.113.7", false},
		{"fd09::2", "fd00:198:18::b", false},
		{"fd09::2", "2001:db8::7", false},
	} {
		src, dst := netip.MustParseAddr(c.src), netip.MustParseAddr(c.dst)
		payload := noise(1000)
		r.wire.Send(netstacktest.Echo(src, dst, 7, 9, payload))
		if !c.answered {
			r.quiet()
			continue
		}
		p := r.wire.Next()
		typ := uint8(header.ICMPv4EchoReply)
		if dst.Is6() {
			typ = uint8(header.ICMPv6EchoReply)
		}
		if p.Type != typ || !p.ChecksumOK || p.Src.Addr() != dst || p.Dst.Addr() != src || !bytes.Equal(p.Payload, payload) {
			t.Errorf("%s: %+v", c.dst, p)
		}
	}
	eventually(t, "all to be counted", func() bool { st := r.stack.Stats(); return st.EchoReplies == 2 && st.EchoIgnored == 4 })
}
