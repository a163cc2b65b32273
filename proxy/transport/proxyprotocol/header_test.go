package proxyprotocol

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"culvert/configs/field"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

func ip(s string) network.Address { return network.IPAddress(netip.MustParseAddrPort(s)) }

func flow(source, destination network.Address) *network.StreamInfo {
	info := network.NewStreamInfo(1)
	info.RemoteAddress, info.LocalAddress = source, destination
	return info
}

func encoder(t *testing.T, m *corev3.ProxyProtocolConfig) *Encoder {
	t.Helper()
	e, err := NewEncoder(m)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func v2(change func(*corev3.ProxyProtocolConfig)) *corev3.ProxyProtocolConfig {
	m := &corev3.ProxyProtocolConfig{Version: corev3.ProxyProtocolConfig_V2}
	if change != nil {
		change(m)
	}
	return m
}

const sigV2 = "0d0a0d0a000d0a515549540a"

func TestHeader(t *testing.T) {
	v4 := flow(ip("192.0.2.1:1000"), ip("198.51.100.2:443"))
	v6 := flow(ip("[2001:db8::1]:1000"), ip("[2001:db8::2]:443"))
	mixed := flow(ip("192.0.2.1:1000"), ip("[2001:db8::2]:443"))
	for _, c := range []struct {
		name    string
		version corev3.ProxyProtocolConfig_Version
		info    *network.StreamInfo
		want    string // text, or hex behind the signature of version 2
	}{
		{"v1, IPv4", 0, v4, "PROXY TCP4 192.0.2.1 198.51.100.2 1000 443\r\n"},
		{"v1, IPv6", 0, v6, "PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n"},
		{"v1, mixed", 0, mixed, "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1000 443\r\n"},
		{"v1, no flow", 0, nil, "PROXY UNKNOWN\r\n"},
		{"v1, no address", 0, flow(network.PipeAddress("/a"), network.PipeAddress("/b")), "PROXY UNKNOWN\r\n"},
		{"v1, a name", 0, flow(ip("192.0.2.1:1000"), network.NameAddress("a.test", 443)), "PROXY UNKNOWN\r\n"},
		{"v2, IPv4", 1, v4, "2111" + "000c" + "c0000201c6336402" + "03e801bb"},
		{"v2, IPv6", 1, v6, "2121" + "0024" + "20010db8000000000000000000000001" + "20010db8000000000000000000000002" + "03e801bb"},
		{"v2, no flow", 1, nil, "2000" + "0000"},
		{"v2, internal", 1, flow(network.InternalAddress("a", ""), network.InternalAddress("b", "")), "2000" + "0000"},
	} {
		got, err := encoder(t, &corev3.ProxyProtocolConfig{Version: c.version}).Header(c.info, nil)
		text := string(got)
		if c.version == corev3.ProxyProtocolConfig_V2 {
			text = strings.TrimPrefix(hex.EncodeToString(got), sigV2)
		}
		if err != nil || text != c.want {
			t.Errorf("%s: %q, %v", c.name, text, err)
		}
	}
}

// Sizes are Envoy's.
func TestE16HeaderV1(t *testing.T) {
	got, err := encoder(t, nil).Header(flow(ip("127.0.0.1:43210"), ip("127.0.0.1:10001")), nil)
	if err != nil || len(got) != 44 {
		t.Errorf("%d bytes: %q, %v", len(got), got, err)
	}
}

func TestE17HeaderV2(t *testing.T) {
	for want, info := range map[int]*network.StreamInfo{
		28: flow(ip("127.0.0.1:43210"), ip("127.0.0.1:10001")),
		52: flow(ip("[::1]:43210"), ip("[::1]:10001")),
	} {
		got, err := encoder(t, v2(nil)).Header(info, nil)
		if err != nil || len(got) != want {
			t.Errorf("%d bytes, want %d, %v", len(got), want, err)
		}
	}
}

// An exchange speaks of its connection, whatever its own addresses are made of,
// and the state of the connection goes before both.
func TestStateOf(t *testing.T) {
	conn := flow(ip("192.0.2.1:1"), ip("192.0.2.2:2"))
	exchange := conn.Child(2)
	exchange.RemoteAddress = ip("203.0.113.9:0") // X-Forwarded-For
	if s := StateOf(exchange); s.Source != conn.RemoteAddress || s.Destination != conn.LocalAddress {
		t.Errorf("without state: %v", s)
	}
	conn.SetFilterState(StateKey, &State{Source: ip("10.0.0.1:1"), Destination: ip("10.0.0.2:2")})
	if s := StateOf(exchange); s.String() != "10.0.0.1:1 10.0.0.2:2" {
		t.Errorf("with state: %v", s)
	}
	inner := exchange.Inner(3)
	inner.RemoteAddress = ip("192.0.2.7:7")
	if s := StateOf(inner); s.Source != inner.RemoteAddress {
		t.Errorf("an internal flow took the outer one's state: %v", s)
	}
}

func value(kind uint32, v string) *corev3.TlvEntry {
	return &corev3.TlvEntry{Type: kind, Value: []byte(v)}
}

func formatted(kind uint32, f string) *corev3.TlvEntry {
	return &corev3.TlvEntry{Type: kind, FormatString: &corev3.SubstitutionFormatString{
		Format: &corev3.SubstitutionFormatString_TextFormat{TextFormat: f},
	}}
}

func perHost(t *testing.T, entries ...*corev3.TlvEntry) *corev3.Metadata {
	t.Helper()
	packed, err := anypb.New(&corev3.PerHostConfig{AddedTlvs: entries})
	if err != nil {
		t.Fatal(err)
	}
	return &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{"envoy.transport_sockets.proxy_protocol": packed}}
}

// TestL07 has the endpoint's TLV win.
func TestL07TLVs(t *testing.T) {
	all := &corev3.ProxyProtocolPassThroughTLVs{}
	only := &corev3.ProxyProtocolPassThroughTLVs{MatchType: corev3.ProxyProtocolPassThroughTLVs_INCLUDE, TlvType: []uint32{0xe1}}
	came := []TLV{{0x03, []byte("crc!")}, {0x04, nil}, {0xe0, []byte("a")}, {0xe1, []byte("b")}}
	for _, c := range []struct {
		name  string
		pass  *corev3.ProxyProtocolPassThroughTLVs
		added []*corev3.TlvEntry
		host  []*corev3.TlvEntry
		want  string
	}{
		{"none", nil, nil, nil, ""},
		{"all pass, but what speaks of the header", all, nil, nil, "e0=a e1=b"},
		{"some pass", only, nil, nil, "e1=b"},
		{"added replaces passed", all, []*corev3.TlvEntry{value(0xe0, "x"), value(0xee, "y")}, nil, "e1=b e0=x ee=y"},
		{"the endpoint's replaces both", all, []*corev3.TlvEntry{value(0xe0, "x"), value(0xee, "y")},
			[]*corev3.TlvEntry{value(0xee, "host"), value(0xe1, "h")}, "e0=x ee=host e1=h"},
		{"formats", nil, []*corev3.TlvEntry{formatted(0xf0, "%DOWNSTREAM_REMOTE_ADDRESS% %FILTER_STATE(k:PLAIN)%")}, nil, "f0=192.0.2.1:1 v"},
		{"twice the same type", nil, []*corev3.TlvEntry{value(0xe0, "1"), value(0xe0, "2")}, nil, "e0=1 e0=2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			info := flow(ip("192.0.2.1:1"), ip("192.0.2.2:2"))
			info.SetFilterState("k", "v")
			info.SetFilterState(StateKey, &State{Source: info.RemoteAddress, Destination: info.LocalAddress, TLVs: came})
			e := encoder(t, v2(func(m *corev3.ProxyProtocolConfig) { m.PassThroughTlvs, m.AddedTlvs = c.pass, c.added }))
			host, err := HostTLVs(perHost(t, c.host...))
			if err != nil {
				t.Fatal(err)
			}
			b, err := e.Header(info, host)
			if err != nil {
				t.Fatal(err)
			}
			h, n, err := Parse(b, V2)
			if err != nil || n != len(b) {
				t.Fatalf("%d of %d bytes, %v", n, len(b), err)
			}
			var got []string
			for _, tlv := range h.TLVs {
				got = append(got, hex.EncodeToString([]byte{tlv.Type})+"="+string(tlv.Value))
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}

func TestTLVsThatDoNotFit(t *testing.T) {
	e := encoder(t, v2(func(m *corev3.ProxyProtocolConfig) {
		m.AddedTlvs = []*corev3.TlvEntry{value(0xe0, strings.Repeat("x", 40_000)), value(0xe1, strings.Repeat("x", 40_000))}
	}))
	if b, err := e.Header(flow(ip("192.0.2.1:1"), ip("192.0.2.2:2")), nil); err == nil {
		t.Errorf("%d bytes", len(b))
	}
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		m    *corev3.ProxyProtocolConfig
		path string
	}{
		{"TLVs in version 1", &corev3.ProxyProtocolConfig{AddedTlvs: []*corev3.TlvEntry{value(1, "x")}}, "added_tlvs"},
		{"passing in version 1", &corev3.ProxyProtocolConfig{PassThroughTlvs: &corev3.ProxyProtocolPassThroughTLVs{}}, "pass_through_tlvs"},
		{"M06 neither", v2(func(m *corev3.ProxyProtocolConfig) { m.AddedTlvs = []*corev3.TlvEntry{{Type: 0xe0}} }), "added_tlvs[0]"},
		{"M06 both", v2(func(m *corev3.ProxyProtocolConfig) {
			both := formatted(0xe0, "x")
			both.Value = []byte("y")
			m.AddedTlvs = []*corev3.TlvEntry{value(0xe0, "x"), both}
		}), "added_tlvs[1]"},
		{"too great a type", v2(func(m *corev3.ProxyProtocolConfig) { m.AddedTlvs = []*corev3.TlvEntry{value(256, "x")} }), "added_tlvs[0].type"},
		{"a checksum", v2(func(m *corev3.ProxyProtocolConfig) { m.AddedTlvs = []*corev3.TlvEntry{value(3, "x")} }), "added_tlvs[0].type"},
		{"a bad format", v2(func(m *corev3.ProxyProtocolConfig) { m.AddedTlvs = []*corev3.TlvEntry{formatted(0xe0, "%NO_SUCH%")} }),
			"added_tlvs[0].format_string.text_format"},
		{"too great a type passes", v2(func(m *corev3.ProxyProtocolConfig) {
			m.PassThroughTlvs = &corev3.ProxyProtocolPassThroughTLVs{TlvType: []uint32{1, 256}}
		}), "pass_through_tlvs.tlv_type[1]"},
	} {
		_, err := NewEncoder(c.m)
		if all := field.All(err); len(all) != 1 || all[0].Path != c.path {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := HostTLVs(perHost(t, formatted(0xe0, "x"))); err == nil {
		t.Error("an endpoint's TLV may have a format")
	}
}

func TestParseErrorsAreOurs(t *testing.T) {
	for _, b := range []string{"PROXY TCP4 \x1b[31m 1.2.3.4 1 2\r\n", "PROXY evil\r\n"} {
		_, _, err := Parse([]byte(b), V1)
		if err == nil || errors.Is(err, ErrIncomplete) || strings.ContainsAny(err.Error(), "\x1b") || strings.Contains(err.Error(), "evil") {
			t.Errorf("%q: %v", b, err)
		}
	}
}
