package proxyprotocol

import (
	"fmt"
	"net"

	"culvert/configs/field"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proxyproto "github.com/pires/go-proxyproto"
)

// Encoder makes headers as a ProxyProtocolConfig says. It is immutable.
type Encoder struct {
	version byte
	passing *Passing
	added   *TLVs
}

// NewEncoder compiles a ProxyProtocolConfig. nil is version 1.
func NewEncoder(m *corev3.ProxyProtocolConfig) (*Encoder, error) {
	e := &Encoder{version: 1}
	if m.GetVersion() == corev3.ProxyProtocolConfig_V2 {
		e.version = 2
	}
	var errs [4]error
	if e.version == 1 && m.GetPassThroughTlvs() != nil {
		errs[0] = field.WithFix(field.Errorf("pass_through_tlvs", "a version 1 header has no TLVs"), "version: V2")
	}
	if e.version == 1 && len(m.GetAddedTlvs()) > 0 {
		errs[1] = field.WithFix(field.Errorf("added_tlvs", "a version 1 header has no TLVs"), "version: V2")
	}
	e.passing, errs[2] = NewPassing(m.GetPassThroughTlvs())
	e.added, errs[3] = NewTLVs(m.GetAddedTlvs())
	err := field.Join(errs[0], errs[1], field.At("pass_through_tlvs", errs[2]), field.At("added_tlvs", errs[3]))
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Header is what goes in front of the bytes of the flow info, which may be nil:
// its two ends, or where they are not both IP addresses that nothing is known
// (UNKNOWN in version 1, LOCAL in version 2). host are the TLVs of the endpoint:
// they replace those of the configuration, which replace those that pass
// through. The error is that the TLVs do not fit into a header.
func (e *Encoder) Header(info *network.StreamInfo, host []TLV) ([]byte, error) {
	s := StateOf(info)
	h := proxyproto.HeaderProxyFromAddrs(e.version, tcpAddr(s.Source), tcpAddr(s.Destination))
	if e.version == 2 && h.Command == proxyproto.PROXY {
		if err := h.SetTLVs(e.tlvs(s, info, host)); err != nil {
			return nil, fmt.Errorf("PROXY header: %w", err)
		}
	}
	b, err := h.Format()
	if err != nil {
		return nil, fmt.Errorf("PROXY header: %w", err)
	}
	return b, nil
}

func (e *Encoder) tlvs(s *State, info *network.StreamInfo, host []TLV) []proxyproto.TLV {
	all := e.passing.Of(s.TLVs)
	if len(e.added.entries) > 0 {
		all = Overwrite(all, e.added.Evaluate(contextOf(info)))
	}
	all = Overwrite(all, host)
	out := make([]proxyproto.TLV, len(all))
	for i, t := range all {
		out[i] = proxyproto.TLV{Type: proxyproto.PP2Type(t.Type), Value: t.Value}
	}
	return out
}

// tcpAddr is an IP address for the encoder, nil for any other.
func tcpAddr(a network.Address) net.Addr {
	if a.Kind != network.AddressIP {
		return nil
	}
	return net.TCPAddrFromAddrPort(a.IP)
}
