package tcpproxy

import (
	"fmt"

	"culvert/configs/field"
	"culvert/proxy/network"

	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

// hashPolicy says what the flows have in common that a consistently hashing
// cluster is to send to one endpoint. nil: nothing.
type hashPolicy struct {
	state string // name of filter state; empty: the peer's IP
}

func newHashPolicy(list []*typev3.HashPolicy) (*hashPolicy, error) {
	switch len(list) {
	case 0:
		return nil, nil
	case 1:
	default:
		return nil, field.Errorf("", "at most one is supported")
	}
	switch p := list[0].GetPolicySpecifier().(type) {
	case *typev3.HashPolicy_SourceIp_:
		return &hashPolicy{}, nil
	case *typev3.HashPolicy_FilterState_:
		if p.FilterState.GetKey() == "" {
			return nil, field.Errorf("[0].filter_state.key", "is empty")
		}
		return &hashPolicy{state: p.FilterState.GetKey()}, nil
	}
	return nil, field.Errorf("[0]", "source_ip or filter_state is required")
}

// note gives a flow its hash, where there is something to hash.
func (h *hashPolicy) note(info *network.StreamInfo) {
	switch {
	case h == nil:
	case h.state != "":
		if v, ok := info.LookupFilterState(h.state); ok {
			info.SetHash(network.Hash64(fmt.Sprint(v)))
		}
	case info.RemoteAddress.Kind == network.AddressIP:
		info.SetHash(network.Hash64(info.RemoteAddress.Host()))
	}
}
