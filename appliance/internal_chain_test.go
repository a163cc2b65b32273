package appliance

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/proxy/network"
	"culvert/test/peer"
	"culvert/test/ports"
)

// chainConfig is a kernel listener, hops internal listeners behind it, each
// with a tcp_proxy, and an endpoint:
// front -> inner1 -> ... -> innerN -> origin.
func chainConfig(t *testing.T, front, origin string, hops int) string {
	const hop = `
  - name: {{.Name}}
    {{.Where}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: {{.Name}}
          cluster: behind_{{.Name}}`
	const cluster = `
  - name: behind_{{.Name}}
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: behind_{{.Name}}
      endpoints: [{lb_endpoints: [{endpoint: {address: {{.Next}}}}]}]`
	socket := func(port string) string {
		return fmt.Sprintf("{socket_address: {address: 127.0.0.1, port_value: %s}}", port)
	}
	listeners, clusters := "", ""
	for i := range hops + 1 {
		h := map[string]string{
			"Name": fmt.Sprintf("inner%d", i), "Where": "internal_listener: {}",
			"Next": fmt.Sprintf("{envoy_internal_address: {server_listener_name: inner%d}}", i+1),
		}
		if i == 0 {
			h["Name"], h["Where"] = "front", "address: "+socket(front)
		}
		if i == hops {
			h["Next"] = socket(origin)
		}
		listeners += render(t, hop, h)
		clusters += render(t, cluster, h)
	}
	return `
bootstrap_extensions:
- name: envoy.bootstrap.internal_listener
  typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}
static_resources:
  listeners:` + listeners + "\n  clusters:" + clusters + "\n"
}

// Bytes and ends cross internal listeners as if they were not there.
func TestInternalChain(t *testing.T) {
	up, down := peer.Stream{Seed: 1, Size: 4 << 20}, peer.Stream{Seed: 2, Size: 8 << 20}
	for hops := range 4 {
		t.Run(fmt.Sprintf("%d hops", hops), func(t *testing.T) {
			origin := peer.Serve(t, listen(t), peer.Exchange(down, up))
			front := fmt.Sprint(ports.Free(t, 1)[0])
			s := serve(t, chainConfig(t, front, portOf(origin.Addr()), hops), time.Minute)
			c, err := net.Dial("tcp", "127.0.0.1:"+front)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(patience))
			if err := peer.Exchange(up, down)(t.Context(), c); err != nil {
				t.Errorf("application: %v", err)
			}
			if err := origin.Result(t.Context()); err != nil {
				t.Errorf("origin: %v", err)
			}
			for i := range hops {
				s.counts(t, map[string]int64{fmt.Sprintf("tcp.inner%d.downstream_cx_total", i+1): 1})
			}
		})
	}
}

// A refusal crosses internal listeners as what it is: the application, whose
// kernel connection was accepted before anything could be known, gets a reset.
func TestInternalChainRefused(t *testing.T) {
	for hops := range 4 {
		t.Run(fmt.Sprintf("%d hops", hops), func(t *testing.T) {
			p := ports.Free(t, 2)
			s := serve(t, chainConfig(t, fmt.Sprint(p[0]), fmt.Sprint(p[1]), hops), time.Minute)
			if err := connectAndRead(loopback(p[0])); !network.IsReset(err) {
				t.Errorf("the application is told %v, want a reset", err)
			}
			eventually(t, "the flows end", func() bool { return s.flows.Len() == 0 })
			ended := s.flows.Ended()
			if len(ended) != hops+1 {
				t.Errorf("%d flows ended, want one a listener: %d", len(ended), hops+1)
			}
			for _, info := range ended {
				snap := info.Snapshot()
				if snap.Verdict != network.VerdictRefused.String() || !strings.Contains(snap.Flags.String(), "UF") {
					t.Errorf("listener %q: verdict %q flags %v cause %q, want refused and UF", snap.Listener, snap.Verdict, snap.Flags, snap.Cause)
				}
			}
		})
	}
}

// connectAndRead is what an application that reads is told; a reset may come
// before its connect has returned.
func connectAndRead(address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, err = c.Read(make([]byte, 1))
	return err
}

// A reset crosses internal listeners in both directions.
func TestInternalChainReset(t *testing.T) {
	t.Run("origin", func(t *testing.T) {
		sent := peer.Stream{Seed: 3, Size: 1 << 20}
		origin := peer.Serve(t, listen(t), peer.SendAndReset(sent))
		front := ports.Free(t, 1)[0]
		serve(t, chainConfig(t, fmt.Sprint(front), portOf(origin.Addr()), 2), time.Minute)
		c, err := net.Dial("tcp", loopback(front))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); !network.IsReset(err) {
			t.Errorf("the application reads %v, want a reset", err)
		}
	})
	t.Run("application", func(t *testing.T) {
		origin := peer.Serve(t, listen(t), peer.AwaitReset())
		front := ports.Free(t, 1)[0]
		serve(t, chainConfig(t, fmt.Sprint(front), portOf(origin.Addr()), 2), time.Minute)
		c, err := net.Dial("tcp", loopback(front))
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the origin is reached", func() bool { return origin.Accepted() == 1 })
		peer.Reset(c)
		if err := origin.Result(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
