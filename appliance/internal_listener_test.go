package appliance

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"culvert/configs"
	"culvert/proxy/network"
	"culvert/test/peer"
	"culvert/test/ports"
)

// greeter is an origin that says one byte and hangs up.
func greeter(t *testing.T) (address string) {
	ln := listen(t)
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("!"))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String()
}

// K01, K11: the shape of Envoy's internal_listener_proxy.yaml. Bytes cross, and
// of the outer connection only the peer's address is known inside.
func TestK01K11InternalListenerProxy(t *testing.T) {
	up, down := peer.Stream{Seed: 1, Size: 16 << 20}, peer.Stream{Seed: 2, Size: 16 << 20}
	origin := peer.Serve(t, listen(t), peer.Exchange(down, up))
	front := ports.Free(t, 1)[0]
	s := serve(t, chainConfig(t, fmt.Sprint(front), portOf(origin.Addr()), 1), time.Minute)
	exchangeThrough(t, loopback(front), up, down)
	if err := origin.Result(t.Context()); err != nil {
		t.Errorf("origin: %v", err)
	}
	eventually(t, "the flows end", func() bool { return s.flows.Len() == 0 })
	for _, info := range s.flows.Ended() {
		snap := info.Snapshot()
		if snap.Listener != "inner1" {
			continue
		}
		if snap.LocalAddress.String() != "envoy://inner1/" || info.DirectRemoteAddress.String() != "envoy://internal_client_address/" {
			t.Errorf("inside: local %v, direct remote %v", snap.LocalAddress, info.DirectRemoteAddress)
		}
		if snap.RemoteAddress.Kind != network.AddressIP || info.FilterState != nil || info.Metadata != nil {
			t.Errorf("inside: remote %v, state %v, metadata %v", snap.RemoteAddress, info.FilterState, info.Metadata)
		}
		if u := info.Parent.Upstream(); u.LocalAddress.String() != "envoy://internal_client_address/" || u.RemoteAddress.String() != "envoy://inner1/" {
			t.Errorf("outside: upstream local %v, remote %v", u.LocalAddress, u.RemoteAddress)
		}
	}
	s.counts(t, map[string]int64{
		"listener.envoy_internal_inner1.downstream_cx_total": 1, "listener.envoy_internal_inner1.downstream_cx_destroy": 1,
		"listener.envoy_internal_inner1.downstream_cx_active": 0, "cluster.behind_front.upstream_cx_total": 1,
	})
}

// K03, K04, K05: new connections meet the listener of their day; one that is
// gone is a connection that fails at once.
func TestK03K04K05ListenerReplacedAndRemoved(t *testing.T) {
	a, b := greeter(t), greeter(t)
	front := fmt.Sprint(ports.Free(t, 1)[0])
	config := func(origin string) string { return chainConfig(t, front, portOf(origin), 1) }
	gone := strings.Replace(config(a), "- name: inner1\n", "- name: renamed\n", 1)
	s := serve(t, config(a), time.Minute)
	for i, c := range []struct {
		yaml string
		ok   bool
	}{{config(b), true}, {gone, false}, {config(a), true}} {
		if err := s.Swap(t.Context(), configs.Source{YAML: c.yaml}); err != nil {
			t.Fatal(err)
		}
		err := connectAndRead("127.0.0.1:" + front)
		if c.ok && err != nil || !c.ok && !network.IsReset(err) {
			t.Errorf("swap %d: %v", i, err)
		}
	}
	s.counts(t, map[string]int64{"cluster.behind_front.upstream_cx_connect_fail": 1, "server.config_replaced": 3})
	for _, snap := range endedIn(s, "front") {
		if snap.Cause != "" && (!strings.Contains(snap.Flags.String(), "UF") || !strings.Contains(snap.Cause, `no internal listener "inner1"`)) {
			t.Errorf("flags %v cause %q", snap.Flags, snap.Cause)
		}
	}
}

// K08: a flow that no filter chain of the internal listener matches is refused
// and recorded, and its connection closed.
func TestK08NoFilterChain(t *testing.T) {
	front, log := ports.Free(t, 1)[0], filepath.Join(t.TempDir(), "access.log")
	text := chainConfig(t, fmt.Sprint(front), "1", 1)
	text = strings.Replace(text, "- name: inner1\n    internal_listener: {}\n    filter_chains:\n    - filters:",
		`- name: inner1
    internal_listener: {}
    access_log: [{name: file, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: "`+log+`",
      log_format: {text_format_source: {inline_string: "%DOWNSTREAM_LOCAL_ADDRESS% %RESPONSE_FLAGS%\n"}}}}]
    filter_chains:
    - filter_chain_match: {destination_port: 7}
      filters:`, 1)
	s := serve(t, text, time.Minute)
	if err := connectAndRead(loopback(front)); !network.IsReset(err) {
		t.Errorf("the application is told %v", err)
	}
	eventually(t, "the flows end", func() bool { return len(endedIn(s, "inner1")) == 1 })
	if snap := endedIn(s, "inner1")[0]; snap.Flags != network.FlagNR || snap.Details != "filter_chain_not_found" {
		t.Errorf("flags %v, details %q", snap.Flags, snap.Details)
	}
	s.counts(t, map[string]int64{"listener.envoy_internal_inner1.no_filter_chain_match": 1})
	s.drain()
	if err := s.wait(t); err != nil {
		t.Error(err)
	}
	if records, err := os.ReadFile(log); err != nil || string(records) != "envoy://inner1/ NR\n" {
		t.Errorf("the log says %q, %v", records, err)
	}
}

// K09: flows in a listener that is removed may end within the drain time; then
// they are reset.
func TestK09ListenerDestroyed(t *testing.T) {
	origin := peer.Serve(t, listen(t), peer.Echo())
	front := fmt.Sprint(ports.Free(t, 1)[0])
	text := chainConfig(t, front, portOf(origin.Addr()), 1)
	s := serve(t, text, 0)
	c, err := net.Dial("tcp", "127.0.0.1:"+front)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = c.Write([]byte("x"))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	gone := strings.Replace(text, "- name: inner1\n", "- name: renamed\n", 1)
	if err := s.Swap(t.Context(), configs.Source{YAML: gone}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !network.IsReset(err) {
		t.Errorf("after the drain time: %v, want a reset", err)
	}
	eventually(t, "the flows end", func() bool { return s.flows.Len() == 0 })
}

// An idle flow through three internal hops takes as many goroutines as one
// through none, and its relay is between the same two sockets.
func TestHopsCostNothing(t *testing.T) {
	const flows = 1000
	direct, chained := goroutinesOf(t, 0, flows), goroutinesOf(t, 3, flows)
	t.Logf("%d goroutines for %d idle flows, %d through three hops", direct, flows, chained)
	if chained > direct+flows/10 {
		t.Errorf("three hops take %.2f goroutines a flow more", float64(chained-direct)/flows)
	}
}

// goroutinesOf is how many goroutines so many idle flows add.
func goroutinesOf(t *testing.T, hops, flows int) int {
	origin := listen(t)
	accepted := make(chan net.Conn, flows)
	var accepting = make(chan struct{})
	go func() { // ends with the listener
		defer close(accepting)
		for {
			c, err := origin.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	front := ports.Free(t, 1)[0]
	s := serve(t, chainConfig(t, fmt.Sprint(front), portOf(origin.Addr().String()), hops), 0)
	before := settled()
	var conns []net.Conn
	for range flows {
		c, err := net.Dial("tcp", loopback(front))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c, <-accepted)
	}
	// Bytes both ways: each flow is relaying, and has nothing else to do.
	for i := 0; i < len(conns); i += 2 {
		for _, way := range [][2]net.Conn{{conns[i], conns[i+1]}, {conns[i+1], conns[i]}} {
			_ = way[1].SetDeadline(time.Now().Add(patience))
			_, _ = way[0].Write([]byte("x"))
			if _, err := io.ReadFull(way[1], make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	added := settled() - before
	if got := s.flows.Len(); got != flows*(hops+1) {
		t.Errorf("%d flows in the table, want %d", got, flows*(hops+1))
	}
	for _, c := range conns {
		_ = c.Close()
	}
	_ = origin.Close()
	<-accepting
	eventually(t, "the flows end", func() bool { return s.flows.Len() == 0 })
	return added
}

// settled is how many goroutines there are once none has come or gone for a
// while.
func settled() int {
	const still = 20
	n, same := runtime.NumGoroutine(), 0
	for deadline := time.Now().Add(patience); same < still && time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if now := runtime.NumGoroutine(); now != n {
			n, same = now, 0
		} else {
			same++
		}
	}
	return n
}
