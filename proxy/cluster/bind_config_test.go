package cluster

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/test/need"
	"culvert/test/ports"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// source is a source address; port 0 is for the kernel to choose.
func source(ip string, port uint32) *corev3.SocketAddress {
	return &corev3.SocketAddress{Address: ip, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port}}
}

func bindTo(first string, extra ...string) *corev3.BindConfig {
	m := &corev3.BindConfig{SourceAddress: source(first, 0)}
	for _, ip := range extra {
		m.ExtraSourceAddresses = append(m.ExtraSourceAddresses, &corev3.ExtraSourceAddress{Address: source(ip, 0)})
	}
	return m
}

func boundCluster(endpoint string, from *corev3.BindConfig) *clusterv3.Cluster {
	m := static1(endpoint)
	m.UpstreamBindConfig = from
	return m
}

// callers is a server on a loopback address that tells who connects.
func callers(t *testing.T, network, address string) (at string, who <-chan net.Addr) {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	seen, done := make(chan net.Addr, 16), make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			seen <- c.RemoteAddr()
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String(), seen
}

// Connections come from where the operator says, one source for each family.
func TestUpstreamBindConfig(t *testing.T) {
	for _, tt := range []struct {
		name, listen, want string
		from               *corev3.BindConfig
	}{
		{"IPv4", "127.0.0.1:0", "127.0.0.9", bindTo("127.0.0.9")},
		{"IPv6", "[::1]:0", "::1", bindTo("::1")},
		{"the other family's", "127.0.0.1:0", "127.0.0.9", bindTo("::1", "127.0.0.9")},
		{"the wildcard", "127.0.0.1:0", "127.0.0.1", bindTo("0.0.0.0")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if strings.Contains(tt.listen, "::") {
				need.IPv6(t)
			}
			at, who := callers(t, "tcp", tt.listen)
			c := start(t, boundCluster(at, tt.from), nil)
			conn, _, err := c.Open(t.Context(), info())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			seen := network.AddressOf(<-who)
			if seen.Host() != tt.want || seen != network.AddressOf(conn.LocalAddr()) {
				t.Errorf("seen as %v, local %v, want %s", seen, conn.LocalAddr(), tt.want)
			}
		})
	}
}

// A pooled connection is bound as well, and a port that is chosen is kept.
func TestUpstreamBindConfigOfRequests(t *testing.T) {
	port := uint32(ports.Free(t, 1)[0])
	srv := serveScript(t, func(int, int) []byte { return okAnswer })
	from := &corev3.BindConfig{SourceAddress: source("127.0.0.9", port)}
	c := start(t, boundCluster(srv.addr, from), nil)
	i := info()
	s, err := c.OpenStream(t.Context(), get(), i)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := i.Upstream().LocalAddress; got.Host() != "127.0.0.9" || uint32(got.Port()) != port {
		t.Errorf("from %v, want 127.0.0.9:%d", got, port)
	}
}

// A source that cannot be had is a failure of ours, not of the endpoint.
func TestUpstreamBindConfigFails(t *testing.T) {
	for _, tt := range []struct {
		name, endpoint string
		from           *corev3.BindConfig
		errno          error
		counted        int64
	}{
		{"not an address of ours", "127.0.0.1:1", bindTo("192.0.2.77"), syscall.EADDRNOTAVAIL, 1},
		{"no source of the family", "[::1]:1", bindTo("127.0.0.9"), nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, boundCluster(tt.endpoint, tt.from), nil)
			_, _, err := c.Open(t.Context(), info())
			if network.ReasonFor(err) != network.ReasonGateway || tt.errno != nil && !errors.Is(err, tt.errno) {
				t.Errorf("%v, reason %v", err, network.ReasonFor(err))
			}
			if got := c.value("bind_errors"); got != tt.counted {
				t.Errorf("bind_errors %d, want %d", got, tt.counted)
			}
			if got := c.value("upstream_cx_connect_fail"); got != 1 {
				t.Errorf("upstream_cx_connect_fail %d", got)
			}
		})
	}
}

// K12: what is inside the process has no socket to bind, and a unix socket has
// no IP address: both know nothing of it.
func TestK12BindConfigIgnored(t *testing.T) {
	impossible := bindTo("192.0.2.77")
	t.Run("K12 internal, the flow handed on", func(t *testing.T) {
		h := network.HandlerFunc(func(context.Context, network.Flow) error { return nil })
		c := start(t, boundCluster("envoy:inner", impossible), func(d *Deps) {
			d.Lookup = func(name string) (network.Handler, bool) { return h, name == "inner" }
		})
		if _, got, err := c.Open(t.Context(), info()); err != nil || got == nil {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("K12 internal, HTTP in a pipe", func(t *testing.T) {
		s := &inside{}
		t.Cleanup(s.wg.Wait) // after the cluster has ended
		c := start(t, boundCluster("envoy:inner", impossible), func(d *Deps) {
			d.Lookup = func(string) (network.Handler, bool) { return network.HandlerFunc(nil), true }
			d.DialInternal = s.dial
		})
		if status, _ := ask(t, c, get()); status != 200 || c.value("bind_errors") != 0 {
			t.Errorf("%d, %d bind errors", status, c.value("bind_errors"))
		}
	})
	t.Run("unix socket", func(t *testing.T) {
		path, who := callers(t, "unix", filepath.Join(t.TempDir(), "s"))
		m := boundCluster("127.0.0.1:1", impossible)
		m.LoadAssignment.Endpoints[0].LbEndpoints[0].GetEndpoint().Address = &corev3.Address{
			Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path}},
		}
		c := start(t, m, nil)
		conn, _, err := c.Open(t.Context(), info())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		<-who
	})
}

func TestUpstreamBindConfigErrors(t *testing.T) {
	udp := bindTo("127.0.0.1")
	udp.SourceAddress.Protocol = corev3.SocketAddress_UDP
	for _, tt := range []struct {
		name, path, text string
		m                *corev3.BindConfig
	}{
		{"none", "source_address", "is required", &corev3.BindConfig{}},
		{"a name", "source_address.address", "malformed IP address: eth0.example", bindTo("eth0.example")},
		{"UDP", "source_address.protocol", "only TCP", udp},
		{"port", "source_address.port_value", "0 to 65535", &corev3.BindConfig{SourceAddress: source("127.0.0.1", 65536)}},
		{"two of a family", "extra_source_addresses[1].address.address", "of this family already", bindTo("127.0.0.1", "::1", "127.0.0.2")},
		{"an extra name", "extra_source_addresses[0].address.address", "malformed IP address", bindTo("127.0.0.1", "x")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(boundCluster("127.0.0.1:1", tt.m), testDeps())
			all := field.All(err)
			if len(all) != 1 || all[0].Path != "upstream_bind_config."+tt.path || !strings.Contains(all[0].Err.Error(), tt.text) {
				t.Errorf("got %v, want one error at %q with %q", err, tt.path, tt.text)
			}
		})
	}
}
