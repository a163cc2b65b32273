package hcm

import (
	"context"
	"testing"

	"culvert/proxy/network"
)

// While memory is short requests and tunnels are refused, in Envoy's words.
func TestOverload(t *testing.T) {
	b := newBench(t, with(directRoute, ""), fakeCluster{}, nil)
	b.hcm.deps.Await = func(context.Context) error { return network.ErrOverload }
	b.refuses(connect(), refusal{503, network.FlagOM, "overload", "connection_limit_reached"})
	if res, body := b.ask(get("/")); res.Status != 503 || body != "envoy overloaded" {
		t.Errorf("%d %q", res.Status, body)
	}
	b.wait()
	if n := b.stat("downstream_rq_overload_close"); n != 2 {
		t.Errorf("downstream_rq_overload_close %d, want 2", n)
	}
	b.hcm.deps.Await = func(context.Context) error { return nil }
	if res, _ := b.ask(get("/")); res.Status != 200 {
		t.Errorf("there is room: %d", res.Status)
	}
	b.wait()
}
