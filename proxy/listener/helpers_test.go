package listener

import (
	"context"
	"errors"
	"testing"

	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/test/leak"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestMain(m *testing.M) { leak.Main(m) }

// handlers serve by the filter's name.
type handlers map[string]network.HandlerFunc

func (h handlers) filter(f *listenerv3.Filter) (network.Handler, error) {
	fn, ok := h[f.GetName()]
	if !ok {
		return nil, errors.New("no such filter")
	}
	return fn, nil
}

func testDeps(h handlers) Deps {
	return Deps{
		NetworkFilter: h.filter, Stats: stats.NewStore(), Flows: network.NewFlowTable(), InternalListeners: true,
	}
}

func socketAddress(ip string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: ip, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

func internal(m *listenerv3.Listener) *listenerv3.Listener {
	m.ListenerSpecifier = &listenerv3.Listener_InternalListener{InternalListener: &listenerv3.Listener_InternalListenerConfig{}}
	return m
}

func chainOf(name string, m *listenerv3.FilterChainMatch) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{Name: name, FilterChainMatch: m, Filters: []*listenerv3.Filter{{Name: "f"}}}
}

func u32(v uint32) *wrapperspb.UInt32Value { return wrapperspb.UInt32(v) }

func cidr(ip string, bits uint32) *corev3.CidrRange {
	return &corev3.CidrRange{AddressPrefix: ip, PrefixLen: u32(bits)}
}

// fakeFlow records its answer.
type fakeFlow struct {
	info     *network.StreamInfo
	ctx      context.Context
	conn     network.Conn
	accepted bool
	rejected error
}

func newFakeFlow() *fakeFlow {
	return &fakeFlow{info: network.NewStreamInfo(1), ctx: context.Background()}
}

func (f *fakeFlow) Info() *network.StreamInfo { return f.info }
func (f *fakeFlow) Context() context.Context  { return f.ctx }
func (f *fakeFlow) Accept(context.Context) (network.Conn, error) {
	f.accepted = true
	return f.conn, nil
}
func (f *fakeFlow) Reject(cause error) { f.rejected = cause }

func address(s string) network.Address {
	a, err := network.ParseHostPort(s)
	if err != nil {
		panic(err)
	}
	return a
}
