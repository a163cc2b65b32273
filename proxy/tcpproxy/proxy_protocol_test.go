package tcpproxy

import (
	"context"
	"fmt"
	"testing"

	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/transport/proxyprotocol"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

func formatted(s string) *corev3.SubstitutionFormatString {
	return &corev3.SubstitutionFormatString{Format: &corev3.SubstitutionFormatString_TextFormatSource{
		TextFormatSource: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: s}},
	}}
}

// TLVs, constant and made for the flow, join the PROXY protocol state that
// an upstream transport sends, as the policy says.
func TestH27ProxyProtocolTLVs(t *testing.T) {
	const (
		absent    = tcpproxyv3.ProxyProtocolTlvMergePolicy_ADD_IF_ABSENT
		overwrite = tcpproxyv3.ProxyProtocolTlvMergePolicy_OVERWRITE_BY_TYPE_IF_EXISTS_OR_ADD
		appended  = tcpproxyv3.ProxyProtocolTlvMergePolicy_APPEND_IF_EXISTS_OR_ADD
	)
	was := &proxyprotocol.State{TLVs: []proxyprotocol.TLV{{Type: 0xe0, Value: []byte("old")}, {Type: 0xe9, Value: []byte("kept")}}}
	was.Source, _ = network.ParseHostPort("203.0.113.9:9")
	was.Destination, _ = network.ParseHostPort("203.0.113.1:443")
	added := []*corev3.TlvEntry{
		{Type: 0xe0, Value: []byte("new")},
		{Type: 0xe1, FormatString: formatted("%DOWNSTREAM_REMOTE_ADDRESS% %FILTER_STATE(culvert.destination:PLAIN)%")},
	}
	const values = `e0="new" e1="10.0.0.2:5555 name.example:443"`
	tests := []struct {
		name  string
		merge tcpproxyv3.ProxyProtocolTlvMergePolicy
		was   *proxyprotocol.State
		want  string
	}{
		{"no state", absent, nil, "10.0.0.2:5555 192.0.2.7:443 " + values},
		{"no state, overwrite", overwrite, nil, "10.0.0.2:5555 192.0.2.7:443 " + values},
		{"no state, append", appended, nil, "10.0.0.2:5555 192.0.2.7:443 " + values},
		{"state stays", absent, was, `203.0.113.9:9 203.0.113.1:443 e0="old" e9="kept"`},
		{"overwritten", overwrite, was, `203.0.113.9:9 203.0.113.1:443 e9="kept" ` + values},
		{"appended", appended, was, `203.0.113.9:9 203.0.113.1:443 e0="old" e9="kept" ` + values},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got string
			r := newRig(t, &tcpproxyv3.TcpProxy{ProxyProtocolTlvs: added, ProxyProtocolTlvMergePolicy: tt.merge},
				func(_ context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error) {
					s := proxyprotocol.StateOf(info)
					got = s.String()
					for _, tlv := range s.TLVs {
						got += fmt.Sprintf(" %x=%q", tlv.Type, tlv.Value)
					}
					return nil, nil, errRefused
				})
			f, _ := newFlow()
			f.info = flowInfo()
			if tt.was != nil {
				f.info.SetFilterState(proxyprotocol.StateKey, tt.was)
			}
			_ = r.proxy.ServeFlow(t.Context(), f)
			if got != tt.want {
				t.Errorf("the upstream is told %s\nwant %s", got, tt.want)
			}
			if len(was.TLVs) != 2 || string(was.TLVs[0].Value) != "old" {
				t.Errorf("the state of before was changed: %v", was.TLVs)
			}
		})
	}
}

// An entry has one value, of one kind.
func TestM06TLVErrors(t *testing.T) {
	r := newRig(t, &tcpproxyv3.TcpProxy{}, nil)
	for name, e := range map[string]*corev3.TlvEntry{
		"both":         {Type: 1, Value: []byte("x"), FormatString: formatted("y")},
		"neither":      {Type: 1},
		"type":         {Type: 256, Value: []byte("x")},
		"bad operator": {Type: 1, FormatString: formatted("%NO_SUCH_THING%")},
	} {
		m := &tcpproxyv3.TcpProxy{
			ClusterSpecifier:  &tcpproxyv3.TcpProxy_Cluster{Cluster: "edge"},
			ProxyProtocolTlvs: []*corev3.TlvEntry{{Type: 2, Value: []byte("fine")}, e},
		}
		_, err := New(m, r.deps())
		all := field.All(err)
		if len(all) != 1 || len(all[0].Path) < len("proxy_protocol_tlvs[1]") || all[0].Path[:len("proxy_protocol_tlvs[1]")] != "proxy_protocol_tlvs[1]" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
