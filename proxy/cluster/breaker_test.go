package cluster

import (
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Without thresholds a cluster takes whatever the netstack admits; thresholds
// that are there have Envoy's defaults.
func TestBreakerDefaults(t *testing.T) {
	const netstackFlows = 50000 // netstack.DefaultMaxFlows, which this tree does not import
	tests := []struct {
		name                                    string
		in                                      *clusterv3.CircuitBreakers
		connections, pending, requests, retries int64
	}{
		{"none", nil, unconfiguredThreshold, unconfiguredThreshold, unconfiguredThreshold, 3},
		{"an empty list", &clusterv3.CircuitBreakers{}, unconfiguredThreshold, unconfiguredThreshold, unconfiguredThreshold, 3},
		{"one", &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{
			{MaxRequests: wrapperspb.UInt32(7)},
		}}, 1024, 1024, 7, 3},
	}
	for _, tt := range tests {
		b, err := newBreaker(tt.in)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if b.connections.max != tt.connections || b.pending.max != tt.pending || b.requests.max != tt.requests || b.retries.max != tt.retries {
			t.Errorf("%s: connections %d, pending %d, requests %d, retries %d", tt.name, b.connections.max, b.pending.max, b.requests.max, b.retries.max)
		}
	}
	if unconfiguredThreshold < netstackFlows {
		t.Errorf("a cluster takes %d flows, fewer than the %d that the netstack admits", unconfiguredThreshold, netstackFlows)
	}
}
