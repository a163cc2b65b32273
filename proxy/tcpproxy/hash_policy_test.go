package tcpproxy

import (
	"context"
	"testing"

	"culvert/configs/field"
	"culvert/proxy/network"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

var sourceIP = &typev3.HashPolicy{PolicySpecifier: &typev3.HashPolicy_SourceIp_{SourceIp: &typev3.HashPolicy_SourceIp{}}}

func byState(key string) *typev3.HashPolicy {
	return &typev3.HashPolicy{PolicySpecifier: &typev3.HashPolicy_FilterState_{FilterState: &typev3.HashPolicy_FilterState{Key: key}}}
}

// The cluster is given a hash that is the same for what is alike.
func TestH30HashPolicy(t *testing.T) {
	info := func(remote string, state any) *network.StreamInfo {
		i := network.NewStreamInfo(1)
		i.RemoteAddress, _ = network.ParseHostPort(remote)
		if state != nil {
			i.SetFilterState("user", state)
		}
		return i
	}
	tests := []struct {
		name   string
		policy *typev3.HashPolicy
		info   *network.StreamInfo
		want   string // what is hashed; empty: nothing
	}{
		{"source ip", sourceIP, info("10.0.0.7:5555", nil), "10.0.0.7"},
		{"source ip, another port", sourceIP, info("10.0.0.7:6666", nil), "10.0.0.7"},
		{"source ip v6", sourceIP, info("[2001:db8::7]:1", nil), "2001:db8::7"},
		{"no ip", sourceIP, network.NewStreamInfo(1), ""},
		{"filter state", byState("user"), info("10.0.0.7:5555", "anna"), "anna"},
		{"no such state", byState("user"), info("10.0.0.7:5555", nil), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got uint64
			var ok bool
			r := newRig(t, &tcpproxyv3.TcpProxy{HashPolicy: []*typev3.HashPolicy{tt.policy}},
				func(_ context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error) {
					got, ok = info.Hash()
					return nil, nil, errRefused
				})
			f, _ := newFlow()
			f.info = tt.info
			_ = r.proxy.ServeFlow(t.Context(), f)
			if ok != (tt.want != "") || ok && got != network.Hash64(tt.want) {
				t.Errorf("the cluster sees %#x, %v", got, ok)
			}
		})
	}
	for path, list := range map[string][]*typev3.HashPolicy{
		"hash_policy":                     {sourceIP, sourceIP},
		"hash_policy[0]":                  {{}},
		"hash_policy[0].filter_state.key": {byState("")},
	} {
		r := newRig(t, &tcpproxyv3.TcpProxy{}, nil)
		_, err := New(&tcpproxyv3.TcpProxy{HashPolicy: list, ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: "edge"}}, r.deps())
		if all := field.All(err); len(all) != 1 || all[0].Path != path {
			t.Errorf("got %v, want an error at %s", err, path)
		}
	}
}
