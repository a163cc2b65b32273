package cluster

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	culvertv1 "culvert/configs/culvert/v1"
	"culvert/proxy/codec"
	"culvert/proxy/network"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
)

func at(s string) network.Address {
	a, err := network.ParseHostPort(s)
	if err != nil {
		panic(err)
	}
	return a
}

// E25: where the target comes from, and what is none.
func TestE25OriginalDst(t *testing.T) {
	byHeader := func(name string) *clusterv3.Cluster_OriginalDstLbConfig {
		return &clusterv3.Cluster_OriginalDstLbConfig{UseHttpHeader: true, HttpHeaderName: name}
	}
	captured := func(i *network.StreamInfo) {
		i.LocalAddress, i.DirectLocalAddress = at("10.1.1.1:80"), at("10.1.1.1:80")
		i.SetFilterState(network.StateDestination, "name.example:80")
	}
	head := func(authority string, fields ...codec.Field) *codec.Request {
		return &codec.Request{Method: "CONNECT", Authority: authority, Header: fields}
	}
	tests := []struct {
		name    string
		lb      *clusterv3.Cluster_OriginalDstLbConfig
		head    *codec.Request
		info    func(*network.StreamInfo)
		want    string // empty: none
		invalid int64
	}{
		{name: "authority", lb: byHeader(":authority"), head: head("8.8.8.8:443"), want: "8.8.8.8:443"},
		{name: "authority v6", lb: byHeader(":authority"), head: head("[2606:4700::1111]:443"), want: "[2606:4700::1111]:443"},
		{name: "authority name", lb: byHeader(":authority"), head: head("example.com:443"), invalid: 1},
		{name: "authority without port", lb: byHeader(":authority"), head: head("8.8.8.8"), invalid: 1},
		{name: "authority port 0", lb: byHeader(":authority"), head: head("8.8.8.8:0"), invalid: 1},
		{name: "authority decimal", lb: byHeader(":authority"), head: head("134744072:443"), invalid: 1},
		{name: "authority hex", lb: byHeader(":authority"), head: head("0x7f.1:443"), invalid: 1},
		{name: "authority octal", lb: byHeader(":authority"), head: head("0177.0.0.1:443"), invalid: 1},
		{name: "authority short", lb: byHeader(":authority"), head: head("127.1:443"), invalid: 1},
		{name: "authority zone", lb: byHeader(":authority"), head: head("[fe80::1%25lo]:443"), invalid: 1},
		{name: "authority trailing dot", lb: byHeader(":authority"), head: head("8.8.8.8.:443"), invalid: 1},
		{name: "default header", lb: byHeader(""), head: head("x:1", codec.Field{Name: "x-envoy-original-dst-host", Value: "8.8.4.4:53"}), want: "8.8.4.4:53"},
		{name: "first value", lb: byHeader("X-Dst"), head: head("x:1", codec.Field{Name: "x-dst", Value: "8.8.4.4:1"}, codec.Field{Name: "x-dst", Value: "8.8.4.4:2"}), want: "8.8.4.4:1"},
		{name: "header not asked for", head: head("x:1", codec.Field{Name: "x-envoy-original-dst-host", Value: "8.8.4.4:53"})},
		{name: "no header, nothing restored", lb: byHeader("")},
		{name: "captured", info: captured, want: "10.1.1.1:80"},
		{name: "captured further out", info: func(i *network.StreamInfo) {
			outer := network.NewStreamInfo(9)
			captured(outer)
			i.Parent, i.LocalAddress = outer, outer.LocalAddress
		}, want: "10.1.1.1:80"},
		{name: "restored", info: func(i *network.StreamInfo) {
			i.LocalAddress, i.DirectLocalAddress = at("8.8.8.8:80"), at("127.0.0.1:15001")
		}, want: "8.8.8.8:80"},
		{name: "not restored", info: func(i *network.StreamInfo) {
			i.LocalAddress, i.DirectLocalAddress = at("8.8.8.8:80"), at("8.8.8.8:80")
		}},
		{name: "header before captured", lb: byHeader(":authority"), head: head("8.8.8.8:443"), info: captured, want: "8.8.8.8:443"},
		{name: "bad header is not replaced", lb: byHeader(":authority"), head: head("example.com:443"), info: captured, invalid: 1},
		{name: "filter state before header", lb: byHeader(":authority"), head: head("8.8.8.8:443"), info: func(i *network.StreamInfo) {
			i.SetFilterState(StateOriginalDst, "8.8.4.4:1")
		}, want: "8.8.4.4:1"},
		{name: "filter state, typed", info: func(i *network.StreamInfo) { i.SetFilterState(StateOriginalDst, at("8.8.4.4:1")) }, want: "8.8.4.4:1"},
		{name: "port override", lb: &clusterv3.Cluster_OriginalDstLbConfig{UpstreamPortOverride: u32(8080)}, info: captured, want: "10.1.1.1:8080"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var dialled string
			c := start(t, originalDstCluster(tt.lb), func(d *Deps) {
				d.Connector = connectorFunc(func(_ context.Context, to network.Address) (network.Conn, error) {
					dialled = to.String()
					return &fakeConn{}, nil
				})
			})
			i := info()
			if tt.info != nil {
				tt.info(i)
			}
			conn, _, err := c.OpenFor(t.Context(), tt.head, i)
			if dialled != tt.want || c.value("original_dst_host_invalid") != tt.invalid {
				t.Errorf("dialled %q, want %q; invalid %d, want %d (%v)", dialled, tt.want, c.value("original_dst_host_invalid"), tt.invalid, err)
			}
			if tt.want == "" && (network.FlagFor(err) != network.FlagUH || network.ReasonFor(err) != network.ReasonNoHealthy) {
				t.Errorf("%v: %v %v", err, network.FlagFor(err), network.ReasonFor(err))
			}
			if conn != nil {
				_ = conn.Close()
			}
		})
	}
}

// Who may be reached without a policy depends on who chose, and from where.
func TestEgressByOrigin(t *testing.T) {
	policy := map[string]*culvertv1.EgressPolicy{
		"none": nil, "empty": {}, "loopback": {AllowLoopback: true}, "private": {AllowPrivate: true},
	}
	tests := []struct {
		policy, arrived, target string
		captured                bool
		ok                      bool
	}{
		{policy: "none", arrived: "192.0.2.1:443", target: "8.8.8.8:1", ok: true},
		{policy: "none", arrived: "192.0.2.1:443", target: "127.0.0.1:1"},
		{policy: "none", arrived: "192.0.2.1:443", target: "10.0.0.1:1"},
		{policy: "none", arrived: "127.0.0.1:443", target: "127.0.0.1:1", ok: true},
		{policy: "none", arrived: "[::1]:443", target: "127.0.0.1:1", ok: true},
		{policy: "none", arrived: "127.0.0.1:443", target: "10.0.0.1:1"},
		{policy: "none", arrived: "127.0.0.1:443", target: "169.254.169.254:80"},
		{policy: "empty", arrived: "127.0.0.1:443", target: "127.0.0.1:1"},
		{policy: "loopback", arrived: "192.0.2.1:443", target: "127.0.0.1:1", ok: true},
		{policy: "private", arrived: "192.0.2.1:443", target: "10.0.0.1:1", ok: true},
		{policy: "none", captured: true, target: "10.0.0.1:1", ok: true},
		{policy: "none", captured: true, target: "8.8.8.8:1", ok: true},
		{policy: "none", captured: true, target: "127.0.0.1:1"},
		{policy: "empty", captured: true, target: "10.0.0.1:1"},
	}
	for _, tt := range tests {
		m := originalDstCluster(&clusterv3.Cluster_OriginalDstLbConfig{UseHttpHeader: true, HttpHeaderName: ":authority"})
		if p := policy[tt.policy]; p != nil {
			m.TypedExtensionProtocolOptions = options1(t, "culvert.egress_policy", p)
		}
		c := start(t, m, func(d *Deps) {
			d.Connector = connectorFunc(func(context.Context, network.Address) (network.Conn, error) { return &fakeConn{}, nil })
		})
		outer := info()
		i := outer.Child(2)
		var head *codec.Request
		if tt.captured {
			outer.SetFilterState(network.StateDestination, tt.target)
			i.LocalAddress, i.DirectLocalAddress = at(tt.target), at(tt.target)
		} else {
			outer.LocalAddress, outer.DirectLocalAddress = at(tt.arrived), at(tt.arrived)
			head = &codec.Request{Method: "CONNECT", Authority: tt.target}
		}
		conn, _, err := c.OpenFor(t.Context(), head, i)
		if (err == nil) != tt.ok || err != nil && network.ReasonFor(err) != network.ReasonProhibited {
			t.Errorf("%+v: %v", tt, err)
		}
		if conn != nil {
			_ = conn.Close()
		}
	}
}

// Threat 2: a canary on loopback sees no connection, however it is spelt; with
// a policy that allows it, it does.
func TestEgressCanary(t *testing.T) {
	addr, accepted := echo(t)
	_, port, _ := net.SplitHostPort(addr)
	lb := &clusterv3.Cluster_OriginalDstLbConfig{UseHttpHeader: true, HttpHeaderName: ":authority"}
	c := start(t, originalDstCluster(lb), nil)
	for _, host := range []string{
		"127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]", "[::127.0.0.1]", "0",
		"localhost", "localhost.", "2130706433", "0x7f000001", "017700000001", "127.1", "0177.1", "[::1%lo]", "[fe80::1%25lo]", "127.0.0.1.",
	} {
		conn, _, err := c.OpenFor(t.Context(), &codec.Request{Method: "CONNECT", Authority: host + ":" + port}, info())
		if err == nil {
			t.Errorf("%s is reached", host)
			_ = conn.Close()
		}
	}
	if len(accepted) != 0 {
		t.Errorf("the canary saw %d connections", len(accepted))
	}
	if refused, failed := c.value("egress_policy_refused"), c.value("upstream_cx_connect_fail"); refused == 0 || failed != 0 {
		t.Errorf("%d refused, %d failed: what the policy refuses is no failure of an endpoint", refused, failed)
	}
	m := originalDstCluster(lb)
	m.TypedExtensionProtocolOptions = options1(t, "x", &culvertv1.EgressPolicy{AllowLoopback: true})
	c = start(t, m, nil)
	conn, _, err := c.OpenFor(t.Context(), &codec.Request{Method: "CONNECT", Authority: addr}, info())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	<-accepted
	admin := netip.MustParseAddrPort(addr)
	c = start(t, m, func(d *Deps) { d.Admin = func() netip.AddrPort { return admin } })
	for _, target := range []string{addr, "[::ffff:127.0.0.1]:" + port} {
		if _, _, err := c.OpenFor(t.Context(), &codec.Request{Method: "CONNECT", Authority: target}, info()); !errors.Is(err, errPolicy) {
			t.Errorf("%s, where the admin is, under a policy that allows loopback: %v", target, err)
		}
	}
}
