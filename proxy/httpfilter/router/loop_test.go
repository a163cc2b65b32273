package router

import (
	"context"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// What is forwarded is counted; what was passed on often enough is not
// forwarded, and says so.
func TestForwardCountsHops(t *testing.T) {
	for _, c := range []struct {
		route string
		req   func() *codec.Request
	}{{plainRoute, get}, {connectRoute, connect}} {
		for _, behind := range []int{0, 1, network.MaxHops - 1, network.MaxHops, 1 << 15} {
			asked := -1
			cluster := &fakeCluster{t: t, stream: func(_ context.Context, head *codec.Request, _ *network.StreamInfo) (codec.ClientStream, error) {
				asked = codec.Hops(head.Header)
				return nil, network.WithReason(network.ReasonConnectionRefused, nil)
			}}
			req := c.req()
			if behind > 0 {
				codec.AddHop(&req.Header, behind)
			}
			x, _ := routed(t, c.route, req)
			x.Info.RaiseHops(codec.Hops(req.Header)) // as hcm does
			got := reply(t, newRouter(t, cluster, nil).RoundTrip(t.Context(), x, nil))
			if behind < network.MaxHops {
				if asked != behind+1 || got.Reason != network.ReasonConnectionRefused {
					t.Errorf("%s after %d hops: forwarded with %d, %v", req.Method, behind, asked, got)
				}
				continue
			}
			if asked != -1 || got.Status != 502 || got.Reason != network.ReasonLoop || got.Flags != 0 || got.Details != "proxy_loop_detected" {
				t.Errorf("%s after %d hops: forwarded with %d, %+v", req.Method, behind, asked, got)
			}
		}
	}
}
