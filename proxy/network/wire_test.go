package network

import (
	"net/netip"
	"testing"
)

// What each side's bytes are made of.
func TestWireBytes(t *testing.T) {
	meter := func(raw bool) *WireMeter {
		m := &WireMeter{}
		m.Sent(100)
		m.HeaderSent(10)
		m.Received(200)
		m.HeaderReceived(20)
		if raw {
			m.Raw()
		}
		return m
	}
	at := IPAddress(netip.MustParseAddrPort("127.0.0.1:1"))
	for name, c := range map[string]struct {
		down     *WireMeter
		up       *UpstreamInfo
		wantDown WireBytes
		wantUp   WireBytes
	}{
		"TCP to TCP":            {nil, &UpstreamInfo{RemoteAddress: at}, WireBytes{Sent: 6, Received: 5}, WireBytes{Sent: 5, Received: 6}},
		"no upstream":           {nil, nil, WireBytes{Sent: 6, Received: 5}, WireBytes{}},
		"picked, not connected": {nil, &UpstreamInfo{Host: at}, WireBytes{Sent: 6, Received: 5}, WireBytes{}},
		"framed": {meter(false), &UpstreamInfo{RemoteAddress: at, Wire: meter(false)},
			WireBytes{100, 200, 10, 20}, WireBytes{100, 200, 10, 20}},
		"payload behind heads": {meter(true), &UpstreamInfo{RemoteAddress: at, Wire: meter(true)},
			WireBytes{106, 205, 10, 20}, WireBytes{105, 206, 10, 20}},
	} {
		t.Run(name, func(t *testing.T) {
			info := NewStreamInfo(1)
			info.Wire = c.down
			if c.up != nil {
				info.SetUpstream(c.up)
			}
			info.Meter.Received(5)
			info.Meter.Sent(6)
			if down, up := info.DownstreamBytes(), info.UpstreamBytes(); down != c.wantDown || up != c.wantUp {
				t.Errorf("downstream %+v, want %+v; upstream %+v, want %+v", down, c.wantDown, up, c.wantUp)
			}
		})
	}
}

// A PROXY header is of the head, and is not payload.
func TestIntroduced(t *testing.T) {
	info := NewStreamInfo(1)
	info.Introduced(1) // nobody to be introduced to
	info.SetUpstream(&UpstreamInfo{RemoteAddress: IPAddress(netip.MustParseAddrPort("127.0.0.1:1")), ConnectionID: 7})
	info.Introduced(44)
	info.Meter.Received(5)
	if got, want := info.UpstreamBytes(), (WireBytes{Sent: 49, HeaderSent: 44}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if info.Upstream().ConnectionID != 7 {
		t.Error("the upstream is another")
	}
}
