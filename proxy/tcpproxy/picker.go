package tcpproxy

import (
	"fmt"
	"strconv"
	"time"

	"culvert/configs/field"
	"culvert/proxy/network"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

// Filter state that steers one flow, as in Envoy.
const (
	// StateCluster names the cluster instead of the configuration.
	StateCluster = "envoy.tcp_proxy.cluster"
	// stateIdle is an idle timeout in milliseconds.
	stateIdle = "envoy.tcp_proxy.per_connection_idle_timeout_ms"
	// stateDisableTunneling, true, connects raw to the same cluster.
	stateDisableTunneling = "envoy.tcp_proxy.disable_tunneling"
)

// picker chooses the cluster of an attempt.
type picker struct {
	names   []string
	weights []int64
	total   int64
}

func newPicker(m *tcpproxyv3.TcpProxy) (picker, error) {
	var p picker
	switch m.GetClusterSpecifier().(type) {
	case *tcpproxyv3.TcpProxy_Cluster:
		if m.GetCluster() == "" {
			return p, field.Errorf("cluster", "is empty")
		}
		return picker{names: []string{m.GetCluster()}, weights: []int64{1}, total: 1}, nil
	case *tcpproxyv3.TcpProxy_WeightedClusters:
		for _, c := range m.GetWeightedClusters().GetClusters() {
			p.names = append(p.names, c.GetName())
			p.weights = append(p.weights, int64(c.GetWeight()))
			p.total += int64(c.GetWeight())
		}
		if p.total == 0 {
			return p, field.Errorf("weighted_clusters.clusters", "no cluster has a weight")
		}
		return p, nil
	}
	return p, field.Errorf("cluster", "cluster or weighted_clusters is required")
}

func clusterNames(m *tcpproxyv3.TcpProxy) []string {
	p, _ := newPicker(m) // its error is reported by New
	return p.names
}

// cluster picks by filter state, then by weight.
func (p *picker) cluster(info *network.StreamInfo, random func(int64) int64) string {
	if v, ok := info.FilterState.Lookup(StateCluster); ok {
		return fmt.Sprint(v)
	}
	if len(p.names) == 1 {
		return p.names[0]
	}
	n := random(p.total)
	for i, w := range p.weights {
		if n < w {
			return p.names[i]
		}
		n -= w
	}
	return p.names[len(p.names)-1]
}

// idleFor is the idle timeout of a flow; 0 is none.
func (p *TCPProxy) idleFor(info *network.StreamInfo) time.Duration {
	v, ok := info.FilterState.Lookup(stateIdle)
	if !ok {
		return p.idle
	}
	ms, err := strconv.ParseUint(fmt.Sprint(v), 10, 32)
	if err != nil {
		return p.idle
	}
	return time.Duration(ms) * time.Millisecond
}

func stateBool(info *network.StreamInfo, name string) bool {
	v, ok := info.FilterState.Lookup(name)
	return ok && fmt.Sprint(v) == "true"
}
