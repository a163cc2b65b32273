package listener

import (
	"context"
	"errors"
	"testing"

	"culvert/configs/field"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// M10 (§1.12), M14 and their like: what is wrong, in Envoy's words, and where.
func TestM10M14Errors(t *testing.T) {
	type L = listenerv3.Listener
	good := []*listenerv3.FilterChain{chainOf("c", nil)}
	addr := socketAddress("127.0.0.1", 10000)
	tests := []struct {
		name       string
		m          *L
		extension  bool
		path, text string
	}{
		{"address and internal", internal(&L{Name: "n", Address: addr, FilterChains: good}), true, "address",
			"error adding listener 'n': address should not be used when an internal listener config is provided"},
		{"no address", &L{Name: "n", FilterChains: good}, true, "address",
			"error adding listener named 'n': address is necessary"},
		{"internal address", &L{Name: "n", FilterChains: good, Address: &corev3.Address{Address: &corev3.Address_EnvoyInternalAddress{
			EnvoyInternalAddress: &corev3.EnvoyInternalAddress{}}}}, true, "address.envoy_internal_address",
			"error adding listener named 'n': use internal_listener field instead of address for internal listeners"},
		{"api and internal", internal(&L{Name: "n", FilterChains: good, ApiListener: &listenerv3.ApiListener{}}), true, "api_listener",
			"error adding listener named 'n': api_listener and internal_listener cannot be both set"},
		{"freebind", internal(&L{Name: "n", FilterChains: good, Freebind: wrapperspb.Bool(true)}), true, "",
			"error adding listener named 'n': has unsupported tcp listener feature"},
		{"backlog", internal(&L{Name: "n", FilterChains: good, TcpBacklogSize: u32(5)}), true, "",
			"error adding listener named 'n': has unsupported tcp listener feature"},
		{"mptcp", internal(&L{Name: "n", FilterChains: good, EnableMptcp: true}), true, "",
			"error adding listener named 'n': has unsupported tcp listener feature"},
		{"reuse_port", internal(&L{Name: "n", FilterChains: good, EnableReusePort: wrapperspb.Bool(false)}), true, "",
			"error adding listener named 'n': has unsupported tcp listener feature"},
		{"exact_balance", internal(&L{Name: "n", FilterChains: good, ConnectionBalanceConfig: &listenerv3.Listener_ConnectionBalanceConfig{}}), true, "",
			"error adding listener named 'n': has unsupported tcp listener feature"},
		{"fast open", internal(&L{Name: "n", FilterChains: good, TcpFastOpenQueueLength: u32(5)}), true, "",
			"error adding listener named 'n': has unsupported tcp listener feature"},
		{"transparent", internal(&L{Name: "n", FilterChains: good, Transparent: wrapperspb.Bool(true)}), true, "",
			"error adding listener named 'n': has unsupported tcp listener feature"},
		{"no name", internal(&L{FilterChains: good}), true, "name",
			"an internal listener is found by its name: it needs one"},
		{"socket options", internal(&L{Name: "n", FilterChains: good, SocketOptions: []*corev3.SocketOption{{}}}), true, "socket_options",
			"error adding listener named 'n': does not support socket option"},
		{"no extension", internal(&L{Name: "n", FilterChains: good}), false, "internal_listener",
			"error adding listener named 'n': InternalListener bootstrap extension is mandatory"},
		{"no chains", &L{Name: "n", Address: addr}, true, "filter_chains",
			"error adding listener '127.0.0.1:10000': no filter chains specified"},
		{"same match", &L{Name: "n", Address: addr, FilterChains: []*listenerv3.FilterChain{chainOf("a", nil), chainOf("b", &matchM{})}}, true,
			"filter_chains[1].filter_chain_match",
			"error adding listener '127.0.0.1:10000': multiple filter chains with the same matching rules are defined"},
		{"same lists in another order", &L{Name: "n", Address: addr, FilterChains: []*listenerv3.FilterChain{
			chainOf("a", &matchM{SourcePorts: []uint32{1, 2}}), chainOf("b", &matchM{SourcePorts: []uint32{2, 1}})}}, true,
			"filter_chains[1].filter_chain_match",
			"error adding listener '127.0.0.1:10000': multiple filter chains with the same matching rules are defined"},
		{"overlap", &L{Name: "n", Address: addr, FilterChains: []*listenerv3.FilterChain{
			chainOf("a", &matchM{SourcePorts: []uint32{1, 2}}), chainOf("b", &matchM{SourcePorts: []uint32{2, 3}})}}, true,
			"filter_chains[1].filter_chain_match",
			"error adding listener '127.0.0.1:10000': multiple filter chains with overlapping matching rules are defined"},
		{"inner wildcard", &L{Name: "n", Address: addr, FilterChains: []*listenerv3.FilterChain{
			chainOf("a", &matchM{ServerNames: []string{"a.*.com"}})}}, true,
			"filter_chains[0].filter_chain_match.server_names[0]", `partial wildcards are not supported in "server_names"`},
		{"bad prefix", &L{Name: "n", Address: addr, FilterChains: []*listenerv3.FilterChain{
			chainOf("a", &matchM{PrefixRanges: []*corev3.CidrRange{cidr("10.0.0", 8)}})}}, true,
			"filter_chains[0].filter_chain_match.prefix_ranges[0].address_prefix", "malformed IP address: 10.0.0"},
		{"long prefix", &L{Name: "n", Address: addr, FilterChains: []*listenerv3.FilterChain{
			chainOf("a", &matchM{PrefixRanges: []*corev3.CidrRange{cidr("10.0.0.0", 33)}})}}, true,
			"filter_chains[0].filter_chain_match.prefix_ranges[0].prefix_len", "33 is longer than the address"},
		{"name as address", &L{Name: "n", Address: socketAddress("localhost", 1), FilterChains: good}, true,
			"address.socket_address.address", "malformed IP address: localhost"},
		{"two filters", &L{Name: "n", Address: addr, FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{Name: "f"}, {Name: "f"}}}}}, true,
			"filter_chains[0].filters[1]", "only one network filter, the terminal one, is supported"},
		{"unknown filter", &L{Name: "n", Address: addr, FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{Name: "g"}}}}}, true,
			"filter_chains[0].filters[0]", "no such filter"},
		{"filter of the default chain", &L{Name: "n", Address: addr, FilterChains: good, DefaultFilterChain: &listenerv3.FilterChain{}}, true,
			"default_filter_chain.filters", "a filter chain needs a terminal filter"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := testDeps(handlers{"f": nil})
			d.InternalListeners = tt.extension
			_, err := New(tt.m, d)
			all := field.All(err)
			if len(all) != 1 {
				t.Fatalf("got %d errors: %v", len(all), err)
			}
			if all[0].Path != tt.path || all[0].Err.Error() != tt.text {
				t.Errorf("got %q at %q\nwant %q at %q", all[0].Err, all[0].Path, tt.text, tt.path)
			}
		})
	}
}

func TestNewReportsEverything(t *testing.T) {
	_, err := New(&listenerv3.Listener{Name: "n", Address: socketAddress("x", 1), FilterChains: []*listenerv3.FilterChain{
		{Filters: []*listenerv3.Filter{{Name: "g"}}, FilterChainMatch: &matchM{PrefixRanges: []*corev3.CidrRange{cidr("x", 1)}}},
		{},
	}}, testDeps(handlers{}))
	if n := len(field.All(err)); n != 4 {
		t.Errorf("%d errors, want 4: %v", n, err)
	}
}

// A flow without a transport to hand-shake reaches its filter unanswered.
func TestServeFlowStaysUnanswered(t *testing.T) {
	f := newFakeFlow()
	end := errors.New("served")
	l, err := New(internal(&listenerv3.Listener{Name: "capture", FilterChains: []*listenerv3.FilterChain{chainOf("tunnel", nil)}}),
		testDeps(handlers{"f": func(_ context.Context, got network.Flow) error {
			if got != network.Flow(f) || f.accepted || f.rejected != nil {
				t.Errorf("got %v, accepted %v, rejected %v", got, f.accepted, f.rejected)
			}
			return end
		}}))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.ServeFlow(t.Context(), f); !errors.Is(err, end) {
		t.Errorf("got %v", err)
	}
	if f.info.Listener != "capture" || f.info.FilterChain != "tunnel" || f.info.AcceptedEarly {
		t.Errorf("listener %q, chain %q, early %v", f.info.Listener, f.info.FilterChain, f.info.AcceptedEarly)
	}
	if v, _ := l.deps.Stats.Value("listener.envoy_internal_capture.downstream_cx_total"); v != 1 {
		t.Errorf("downstream_cx_total %d", v)
	}
	if v, _ := l.deps.Stats.Value("listener.envoy_internal_capture.downstream_cx_active"); v != 0 {
		t.Errorf("downstream_cx_active %d", v)
	}
}

func TestServeFlowNoChain(t *testing.T) {
	f := newFakeFlow()
	f.info.LocalAddress = address("10.0.0.1:80")
	l, err := New(&listenerv3.Listener{Name: "l", Address: socketAddress("127.0.0.1", 10001), FilterChains: []*listenerv3.FilterChain{
		chainOf("c", &matchM{DestinationPort: u32(443)})}}, testDeps(handlers{"f": nil}))
	if err != nil {
		t.Fatal(err)
	}
	err = l.ServeFlow(t.Context(), f)
	if network.ReasonFor(err) != network.ReasonNoRoute || f.rejected == nil || f.info.Flags != network.FlagNR {
		t.Errorf("error %v, rejected %v, flags %v", err, f.rejected, f.info.Flags)
	}
	if v, _ := l.deps.Stats.Value("listener.127.0.0.1_10001.no_filter_chain_match"); v != 1 {
		t.Errorf("no_filter_chain_match %d", v)
	}
}

func TestDefaultFilterChain(t *testing.T) {
	m := internal(&listenerv3.Listener{
		Name:               "l",
		FilterChains:       []*listenerv3.FilterChain{chainOf("c", &matchM{DestinationPort: u32(443)})},
		DefaultFilterChain: chainOf("default", nil),
	})
	l, err := New(m, testDeps(handlers{"f": func(context.Context, network.Flow) error { return nil }}))
	if err != nil {
		t.Fatal(err)
	}
	f := newFakeFlow()
	if err := l.ServeFlow(t.Context(), f); err != nil || f.info.FilterChain != "default" {
		t.Errorf("chain %q, %v", f.info.FilterChain, err)
	}
}

func TestAttributes(t *testing.T) {
	m := &listenerv3.Listener{
		Name: "n", Address: socketAddress("::1", 80), BindToPort: wrapperspb.Bool(false),
		FilterChains: []*listenerv3.FilterChain{chainOf("c", nil)}, StatPrefix: "edge",
	}
	d := testDeps(handlers{"f": nil})
	l, err := New(m, d)
	if err != nil {
		t.Fatal(err)
	}
	if l.Name() != "n" || l.Internal() || l.Bind() || l.Address().String() != "[::1]:80" {
		t.Errorf("%q %v %v %v", l.Name(), l.Internal(), l.Bind(), l.Address())
	}
	if _, ok := d.Stats.Value("listener.edge.downstream_cx_total"); !ok {
		t.Error("stat_prefix is not used")
	}
}
