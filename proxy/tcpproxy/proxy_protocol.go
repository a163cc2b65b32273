package tcpproxy

import (
	"culvert/configs/field"
	"culvert/proxy/format"
	"culvert/proxy/network"
	"culvert/proxy/transport/proxyprotocol"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

// proxyTLVs are what is added to the PROXY protocol state of a flow, for an
// upstream transport that sends it. nil: nothing.
type proxyTLVs struct {
	added *proxyprotocol.TLVs
	merge tcpproxyv3.ProxyProtocolTlvMergePolicy
}

func newProxyTLVs(m *tcpproxyv3.TcpProxy) (*proxyTLVs, error) {
	if len(m.GetProxyProtocolTlvs()) == 0 {
		return nil, nil
	}
	added, err := proxyprotocol.NewTLVs(m.GetProxyProtocolTlvs())
	merge := m.GetProxyProtocolTlvMergePolicy()
	if _, known := tcpproxyv3.ProxyProtocolTlvMergePolicy_name[int32(merge)]; !known {
		return nil, field.Join(field.At("proxy_protocol_tlvs", err),
			field.Errorf("proxy_protocol_tlv_merge_policy", "unknown policy %d", merge))
	}
	return &proxyTLVs{added: added, merge: merge}, field.At("proxy_protocol_tlvs", err)
}

// note writes the state of a flow, or what it becomes of the state that a
// listener filter has written.
func (p *proxyTLVs) note(info *network.StreamInfo) {
	if p == nil {
		return
	}
	_, exists := info.LookupFilterState(proxyprotocol.StateKey)
	if exists && p.merge == tcpproxyv3.ProxyProtocolTlvMergePolicy_ADD_IF_ABSENT {
		return
	}
	s := *proxyprotocol.StateOf(info)
	added := p.added.Evaluate(&format.Context{Info: info})
	if p.merge == tcpproxyv3.ProxyProtocolTlvMergePolicy_OVERWRITE_BY_TYPE_IF_EXISTS_OR_ADD {
		s.TLVs = proxyprotocol.Overwrite(s.TLVs, added)
	} else {
		s.TLVs = append(append([]proxyprotocol.TLV(nil), s.TLVs...), added...)
	}
	info.SetFilterState(proxyprotocol.StateKey, &s)
}
