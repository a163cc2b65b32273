package listenerfilter

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"culvert/configs/configstest"
	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/proxy/transport/proxyprotocol"
	"culvert/proxy/transport/transporttest"
	"culvert/test/leak"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	origdstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	ppv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestHonoured(t *testing.T) { configstest.RefusesUndeclared(t, Honoured()) }

const (
	v1 = "PROXY TCP4 192.0.2.1 198.51.100.2 1000 443\r\n"
	// v2 is of the same ends, with the TLVs e0=abc and e1=\xff.
	v2Hex = "0d0a0d0a000d0a515549540a" + "2111" + "0016" + "c0000201c633640203e801bb" + "e00003" + "616263" + "e10001" + "ff"
	ends  = "192.0.2.1:1000 198.51.100.2:443"
)

func v2() string {
	b, err := hex.DecodeString(v2Hex)
	if err != nil {
		panic(err) // a constant
	}
	return string(b)
}

// inspected is a connection that a filter has looked at.
type inspected struct {
	info *network.StreamInfo
	rest string // what is left of its bytes
	err  error
	s    *stats.Store
}

// inspect has a filter look at a connection that carries pieces and ends.
func inspect(t *testing.T, m *ppv3.ProxyProtocol, pieces ...string) inspected {
	t.Helper()
	r := inspected{info: network.NewStreamInfo(1), s: stats.NewStore()}
	f, err := NewProxyProtocol(m, Deps{Stats: r.s.Scope(""), Listener: r.s.Scope("listener.x.")})
	if err != nil {
		t.Fatal(err)
	}
	ours, peer := transporttest.Pair(t)
	r.info.RemoteAddress, r.info.LocalAddress = network.AddressOf(ours.RemoteAddr()), network.AddressOf(ours.LocalAddr())
	r.info.DirectRemoteAddress, r.info.DirectLocalAddress = r.info.RemoteAddress, r.info.LocalAddress
	for _, piece := range pieces {
		if _, err := peer.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	p := network.PeekConn(ours, r.info)
	r.err = f.Inspect(t.Context(), p)
	conn, _ := p.Conn()
	rest, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	r.rest = string(rest)
	return r
}

func (r inspected) count(name string) int64 {
	n, _ := r.s.Value(name)
	return n
}

func TestProxyProtocol(t *testing.T) {
	strict := &ppv3.ProxyProtocol{}
	optional := &ppv3.ProxyProtocol{AllowRequestsWithoutProxyProtocol: true}
	without := func(m *ppv3.ProxyProtocol, versions ...corev3.ProxyProtocolConfig_Version) *ppv3.ProxyProtocol {
		m = proto.Clone(m).(*ppv3.ProxyProtocol)
		m.DisallowedVersions = versions
		return m
	}
	for _, c := range []struct {
		name  string
		m     *ppv3.ProxyProtocol
		in    string
		want  string // ends; "-" for the socket's own; empty for a refusal
		rest  string
		count string
	}{
		{"v1", strict, v1 + "payload", ends, "payload", "versions.v1.found"},
		{"v1 alone", strict, v1, ends, "", "versions.v1.found"},
		{"v2", strict, v2() + "payload", ends, "payload", "versions.v2.found"},
		{"v1 UNKNOWN", strict, "PROXY UNKNOWN\r\npayload", "-", "payload", "versions.v1.found"},
		{"v2 LOCAL", strict, v2()[:12] + "\x20\x00\x00\x00payload", "-", "payload", "versions.v2.found"},
		{"two headers", strict, v1 + v1, ends, v1, "versions.v1.found"},
		{"none", strict, "GET / HTTP/1.1\r\n", "", "", "not_found_disallowed"},
		{"nothing", strict, "", "", "", "not_found_disallowed"},
		{"a part", strict, "PROX", "", "", "not_found_disallowed"},
		{"malformed v1", strict, "PROXY TCP4 x\r\n", "", "", "versions.v1.error"},
		{"malformed v2", strict, v2()[:12] + "\x21\x31\x00\x00", "", "", "versions.v2.error"},
		{"cut v1", strict, v1[:20], "", "", "versions.v1.error"},
		{"optional, there", optional, v1 + "payload", ends, "payload", "versions.v1.found"},
		{"optional, none", optional, "GET / HTTP/1.1\r\n", "-", "GET / HTTP/1.1\r\n", "not_found_allowed"},
		{"optional, malformed", optional, "PROXY TCP4 x\r\n", "", "", "versions.v1.error"},
		{"optional, a part", optional, "\r\n\r\n", "-", "\r\n\r\n", "not_found_allowed"},
		{"v1 disallowed", without(strict, corev3.ProxyProtocolConfig_V1), v1, "", "", "versions.v1.disallowed"},
		{"v1 disallowed, v2 comes", without(strict, corev3.ProxyProtocolConfig_V1), v2() + "x", ends, "x", "versions.v2.found"},
		{"v2 disallowed and optional", without(optional, corev3.ProxyProtocolConfig_V2), v2(), "-", v2(), "not_found_allowed"},
		{"both disallowed", without(strict, corev3.ProxyProtocolConfig_V1, corev3.ProxyProtocolConfig_V2), v2(), "", "", "versions.v2.disallowed"},
	} {
		for _, split := range []bool{false, true} {
			name, pieces := c.name, []string{c.in}
			if split {
				name, pieces = c.name+", byte by byte", strings.Split(c.in, "")
			}
			t.Run(name, func(t *testing.T) {
				r := inspect(t, c.m, pieces...)
				if r.count("proxy_proto."+c.count) != 1 {
					t.Errorf("%s is not counted", c.count)
				}
				if c.want == "" {
					if r.err == nil || r.count("listener.x.downstream_cx_proxy_proto_error") != 1 {
						t.Errorf("accepted: %v", r.err)
					}
					return
				}
				got := r.info.RemoteAddress.String() + " " + r.info.LocalAddress.String()
				want := c.want
				if want == "-" {
					want = r.info.DirectRemoteAddress.String() + " " + r.info.DirectLocalAddress.String()
				}
				if r.err != nil || got != want || r.rest != c.rest {
					t.Errorf("%s, rest %q, %v", got, r.rest, r.err)
				}
			})
		}
	}
}

func TestProxyProtocolWaitsAsLongAsItMay(t *testing.T) {
	f, err := NewProxyProtocol(&ppv3.ProxyProtocol{}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	ours, peer := transporttest.Pair(t)
	if _, err := peer.Write([]byte(v1[:10])); err != nil {
		t.Fatal(err)
	}
	p := network.PeekConn(ours, network.NewStreamInfo(1))
	why := errors.New("listener filters timed out")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, why)
	defer cancel()
	if err := f.Inspect(ctx, p); !errors.Is(err, why) {
		t.Fatalf("%v", err)
	}
	if _, err := peer.Write([]byte(v1[10:] + "x")); err != nil {
		t.Fatal(err)
	}
	if err := f.Inspect(t.Context(), p); err != nil { // nothing was lost
		t.Errorf("with more time: %v", err)
	}
}

func ruleFor(kind uint32, namespace, key string, encoding ppv3.ProxyProtocol_KeyValuePair_ValueStringEncoding) *ppv3.ProxyProtocol_Rule {
	return &ppv3.ProxyProtocol_Rule{TlvType: kind, OnTlvPresent: &ppv3.ProxyProtocol_KeyValuePair{
		MetadataNamespace: namespace, Key: key, ValueStringEncoding: encoding,
	}}
}

func TestTLVRules(t *testing.T) {
	rules := []*ppv3.ProxyProtocol_Rule{
		ruleFor(0xe0, "", "a", 0), ruleFor(0xe0, "mine", "b", 0), ruleFor(0xe1, "", "c", 0),
		ruleFor(0xe1, "", "d", ppv3.ProxyProtocol_KeyValuePair_BASE64), ruleFor(0xe2, "", "absent", 0), {TlvType: 0xe0},
	}
	r := inspect(t, &ppv3.ProxyProtocol{Rules: rules}, v2())
	if r.err != nil {
		t.Fatal(r.err)
	}
	own, mine := r.info.Metadata["envoy.filters.listener.proxy_protocol"], r.info.Metadata["mine"]
	if len(own) != 3 || own["a"] != "abc" || own["c"] != "!" || own["d"] != "/w==" || len(mine) != 1 || mine["b"] != "abc" {
		t.Errorf("metadata: %v", r.info.Metadata)
	}

	rules = append(rules[:1:1], rules[2])
	r = inspect(t, &ppv3.ProxyProtocol{Rules: rules, TlvLocation: ppv3.ProxyProtocol_FILTER_STATE}, v2())
	values, _ := r.info.FilterState.Get("envoy.network.proxy_protocol.tlv").(TLVValues)
	if v, ok := values.Field("a"); !ok || v != "abc" || len(r.info.Metadata) != 0 || values.String() != "a=abc,c=!" {
		t.Errorf("filter state: %v; metadata: %v", values, r.info.Metadata)
	}
}

// TestPassThrough goes all the way: what came in one header leaves in another.
func TestPassThrough(t *testing.T) {
	only := &corev3.ProxyProtocolPassThroughTLVs{MatchType: corev3.ProxyProtocolPassThroughTLVs_INCLUDE, TlvType: []uint32{0xe1}}
	for _, c := range []struct {
		pass *corev3.ProxyProtocolPassThroughTLVs
		want int
	}{{nil, 0}, {only, 1}, {&corev3.ProxyProtocolPassThroughTLVs{}, 2}} {
		r := inspect(t, &ppv3.ProxyProtocol{PassThroughTlvs: c.pass}, v2())
		if r.err != nil {
			t.Fatal(r.err)
		}
		e, err := proxyprotocol.NewEncoder(&corev3.ProxyProtocolConfig{
			Version: corev3.ProxyProtocolConfig_V2, PassThroughTlvs: &corev3.ProxyProtocolPassThroughTLVs{},
		})
		if err != nil {
			t.Fatal(err)
		}
		b, err := e.Header(r.info, nil)
		if err != nil {
			t.Fatal(err)
		}
		h, _, err := proxyprotocol.Parse(b, proxyprotocol.V2)
		if err != nil || h.Source.String()+" "+h.Destination.String() != ends || len(h.TLVs) != c.want {
			t.Errorf("passing %v: %+v, %v", c.pass, h, err)
		}
	}
}

func packed(t *testing.T, m proto.Message) *listenerv3.ListenerFilter {
	t.Helper()
	p, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return &listenerv3.ListenerFilter{Name: "x", ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: p}}
}

func TestNew(t *testing.T) {
	for _, c := range []struct {
		name string
		m    *listenerv3.ListenerFilter
		path string // of the error; empty: none
	}{
		{"proxy_protocol", packed(t, &ppv3.ProxyProtocol{}), ""},
		{"original_dst", packed(t, &origdstv3.OriginalDst{}), ""},
		{"unknown", packed(t, &corev3.Address{}), "typed_config"},
		{"nothing", &listenerv3.ListenerFilter{Name: "x"}, "typed_config"},
		{"a rule", packed(t, &ppv3.ProxyProtocol{Rules: []*ppv3.ProxyProtocol_Rule{{}, ruleFor(256, "", "a", 0)}}), "typed_config.rules[1].tlv_type"},
		{"a namespace in filter state", packed(t, &ppv3.ProxyProtocol{
			Rules: []*ppv3.ProxyProtocol_Rule{ruleFor(1, "x", "a", 0)}, TlvLocation: ppv3.ProxyProtocol_FILTER_STATE,
		}), "typed_config.rules[0].on_tlv_present.metadata_namespace"},
		{"passing", packed(t, &ppv3.ProxyProtocol{PassThroughTlvs: &corev3.ProxyProtocolPassThroughTLVs{TlvType: []uint32{999}}}), "typed_config.pass_through_tlvs.tlv_type[0]"},
	} {
		_, err := New(c.m, Deps{})
		all := field.All(err)
		if (err == nil) != (c.path == "") || (err != nil && (len(all) != 1 || all[0].Path != c.path)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzProxyProtocol(f *testing.F) {
	f.Add([]byte(v1+"payload"), false)
	f.Add([]byte(v2()+"payload"), true)
	f.Add([]byte("PROXY UNKNOWN\r\n"), true)
	f.Add([]byte("GET / HTTP/1.1\r\n"), true)
	f.Fuzz(func(t *testing.T, in []byte, optional bool) {
		if len(in) > 8<<10 {
			return
		}
		r := inspect(t, &ppv3.ProxyProtocol{AllowRequestsWithoutProxyProtocol: optional}, string(in))
		if !strings.HasSuffix(string(in), r.rest) {
			t.Fatalf("the rest %q is not the input's", r.rest)
		}
		if r.err == nil && len(r.rest) == len(in) && !optional {
			t.Fatal("a connection without a header was accepted")
		}
	})
}
