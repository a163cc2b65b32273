package tcpproxy

import (
	"context"
	"testing"

	"culvert/proxy/network"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

// A tcp_proxy whose endpoint is the listener it stands in: the loop is refused,
// and no attempt at any hop tries it again.
func TestLoopThroughItself(t *testing.T) {
	m := attempts(5)
	calls := 0
	var r *rig
	r = newRig(t, m, innerCluster(func(ctx context.Context, in network.Flow) error {
		calls++
		if err := in.Info().Enter("inner"); err != nil { // as listeners do
			in.Info().Fail(err)
			in.Reject(err)
			return err
		}
		return r.proxy.ServeFlow(ctx, in)
	}))
	f, _ := newFlow()
	err := r.proxy.ServeFlow(t.Context(), f)
	if network.ReasonFor(err) != network.ReasonLoop || f.answer() != "rejected: loop" {
		t.Errorf("%v, %s", err, f.answer())
	}
	if calls != network.MaxHops+1 {
		t.Errorf("the listener was entered %d times, want %d", calls, network.MaxHops+1)
	}
	if f.info.Attempts != 1 || f.info.Flags != 0 {
		t.Errorf("%d attempts, flags %v", f.info.Attempts, f.info.Flags)
	}
	if r.proxy.deps.Flows.Len() != 0 {
		t.Errorf("%d flows are left", r.proxy.deps.Flows.Len())
	}
}

// The endpoint is the local address of a flow that nothing redirected.
func TestInnerAddresses(t *testing.T) {
	var inner *network.StreamInfo
	r := newRig(t, &tcpproxyv3.TcpProxy{}, innerCluster(func(_ context.Context, in network.Flow) error {
		inner = in.Info()
		in.Reject(errRefused)
		return errRefused
	}))
	f, _ := newFlow()
	f.info.RemoteAddress, _ = network.ParseHostPort("192.0.2.1:4000")
	f.info.LocalAddress, _ = network.ParseHostPort("127.0.0.1:9999")
	f.info.DirectLocalAddress = f.info.LocalAddress
	_ = r.proxy.ServeFlow(t.Context(), f)
	for what, got := range map[string][2]string{
		"local":         {inner.LocalAddress.String(), "envoy://inner/1"},
		"direct local":  {inner.DirectLocalAddress.String(), "envoy://inner/1"},
		"remote":        {inner.RemoteAddress.String(), "192.0.2.1:4000"},
		"direct remote": {inner.DirectRemoteAddress.String(), "envoy://internal_client_address/"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s address %s, want %s", what, got[0], got[1])
		}
	}
}
