package transport_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/proxy/network"
	"culvert/proxy/transport"
	"culvert/proxy/transport/transporttest"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	h11v3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/http_11_proxy/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// proxyMetadata names a proxy at port 3128.
func proxyMetadata(t *testing.T, ip string) *corev3.Metadata {
	t.Helper()
	return &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{
		"envoy.http11_proxy_transport_socket.proxy_address": packed(t, socketAddress(ip, 3128)),
	}}
}

func socketAddress(host string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

// script answers a CONNECT with pieces, and returns the request's head.
func script(t *testing.T, peer network.Conn, pieces ...string) (request string) {
	r := bufio.NewReader(peer)
	for !strings.HasSuffix(request, "\r\n\r\n") {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Errorf("request: %q, %v", request, err)
			return request
		}
		request += line
	}
	for _, piece := range pieces {
		if _, err := peer.Write([]byte(piece)); err != nil {
			t.Errorf("answer: %v", err)
		}
	}
	return request
}

func TestHTTP11ProxyWay(t *testing.T) {
	fallback := &h11v3.Http11ProxyUpstreamTransport{DefaultProxyAddress: socketAddress("default.test", 8080)}
	none := &h11v3.Http11ProxyUpstreamTransport{}
	named := flowInfo()
	named.SetFilterState(transport.StateHTTP11Proxy, &transport.HTTP11Proxy{Hostname: "b.test", Address: addr("192.0.2.7:1")})
	text := flowInfo().Child(2)
	text.Parent.SetFilterState(transport.StateHTTP11Proxy, "b.test:80,192.0.2.6:1")
	endpoint := network.NameAddress("a.test", 443)
	for _, c := range []struct {
		name string
		m    *h11v3.Http11ProxyUpstreamTransport
		o    transport.Options
		want string
	}{
		{"none", none, transport.Options{}, "-"},
		{"the endpoint's", none, transport.Options{HostMetadata: proxyMetadata(t, "192.0.2.8")}, "192.0.2.8:3128"},
		{"the locality's", none, transport.Options{LocalityMetadata: proxyMetadata(t, "192.0.2.9")}, "192.0.2.9:3128"},
		{"the endpoint's before the locality's", none, transport.Options{HostMetadata: proxyMetadata(t, "192.0.2.8"), LocalityMetadata: proxyMetadata(t, "192.0.2.9")}, "192.0.2.8:3128"},
		{"the default", fallback, transport.Options{}, "default.test:8080"},
		{"the endpoint's before the default", fallback, transport.Options{HostMetadata: proxyMetadata(t, "192.0.2.8")}, "192.0.2.8:3128"},
		{"the flow's before all", fallback, transport.Options{Info: named, HostMetadata: proxyMetadata(t, "192.0.2.8")}, "192.0.2.7:1"},
		{"the connection's, as text", fallback, transport.Options{Info: text}, "192.0.2.6:1"},
	} {
		c.o.Endpoint = endpoint
		way, err := transport.WayTo(of(t, c.m, transport.Deps{}), c.o)
		if err != nil || way.Proxy.String() != c.want || way.Open != nil {
			t.Errorf("%s: %v, %v", c.name, way.Proxy, err)
		}
	}
	bad := flowInfo()
	bad.SetFilterState(transport.StateHTTP11Proxy, "b.test:80\r\nX: y,192.0.2.6:1")
	if _, err := transport.WayTo(of(t, none, transport.Deps{}), transport.Options{Info: bad, Endpoint: endpoint}); err == nil {
		t.Error("a target with a line of its own is taken")
	}
}

func TestL01ConnectThenTLS(t *testing.T) {
	ca := transporttest.Authority(t)
	server := downstream(t, transporttest.Server(transporttest.Issue(t, ca, "a.test")))
	u := of(t, &h11v3.Http11ProxyUpstreamTransport{TransportSocket: transporttest.Socket(t, transporttest.Client(ca, "a.test"))}, transport.Deps{})
	for name, c := range map[string]struct {
		o    transport.Options
		want string
	}{
		"name":                          {transport.Options{Endpoint: network.NameAddress("a.test", 443)}, "a.test:443"},
		"IPv6":                          {transport.Options{Endpoint: addr("[2001:db8::1]:8443")}, "[2001:db8::1]:8443"},
		"AbsoluteForm is for cleartext": {transport.Options{Endpoint: network.NameAddress("a.test", 443), AbsoluteForm: true}, "a.test:443"},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.HostMetadata = proxyMetadata(t, "192.0.2.8")
			ours, peer := transporttest.Pair(t)
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() {
				want := "CONNECT " + c.want + " HTTP/1.1\r\nHost: " + c.want + "\r\n\r\n"
				if got := script(t, peer, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"); got != want {
					t.Errorf("request: %q", got)
				}
				c, err := server.Wrap(t.Context(), peer, network.NewStreamInfo(2))
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.Copy(c, c); err != nil {
					t.Error(err)
				}
				c.CloseWrite()
			})
			conn, err := u.Wrap(t.Context(), ours, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if transport.ConnTLS(conn) == nil {
				t.Error("no TLS")
			}
			if _, err := conn.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			conn.CloseWrite()
			if b, err := io.ReadAll(conn); err != nil || string(b) != "hello" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}

// TestL03 sends nothing of its own: the codec writes the absolute form.
func TestL03CleartextRequestsGoAsTheyAre(t *testing.T) {
	u := of(t, &h11v3.Http11ProxyUpstreamTransport{}, transport.Deps{})
	o := transport.Options{Endpoint: network.NameAddress("a.test", 80), HostMetadata: proxyMetadata(t, "192.0.2.8"), AbsoluteForm: true}
	if !transport.AbsoluteForm(u, o) {
		t.Error("the absolute form is not asked for")
	}
	ours, _ := transporttest.Pair(t)
	if c, err := u.Wrap(t.Context(), ours, o); err != nil || c != network.Conn(ours) {
		t.Errorf("%T, %v", c, err)
	}
	o.HostMetadata = nil
	if transport.AbsoluteForm(u, o) {
		t.Error("the absolute form is asked for without a proxy")
	}
}

func TestL04Answers(t *testing.T) {
	u := of(t, &h11v3.Http11ProxyUpstreamTransport{DefaultProxyAddress: socketAddress("192.0.2.8", 3128)}, transport.Deps{})
	const ok = "HTTP/1.1 200 Connection established\r\n\r\n"
	for _, c := range []struct {
		name   string
		pieces []string
		want   string // payload; empty: refused
		status int    // of the refusal, 0 where there was no answer worth the name
		reason network.Reason
	}{
		{"yes", []string{ok, "220 hello"}, "220 hello", 0, 0},
		{"payload with the head", []string{ok + "220 hello"}, "220 hello", 0, 0},
		{"fragments", strings.Split(ok+"220 hello", ""), "220 hello", 0, 0},
		{"another 2xx", []string{"HTTP/1.1 202 \r\n\r\nx"}, "x", 0, 0},
		{"HTTP/1.0, no reason", []string{"HTTP/1.0 200\r\n\r\nx"}, "x", 0, 0},
		{"length and encoding mean nothing", []string{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nxyz"}, "xyz", 0, 0},
		{"1xx first", []string{"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "x"}, "x", 0, 0},
		{"authentication", []string{"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"}, "", 407, network.ReasonGateway},
		{"forbidden", []string{"HTTP/1.1 403 No\r\n\r\n"}, "", 403, network.ReasonDenied},
		{"bad gateway", []string{"HTTP/1.1 502 No\r\n\r\n"}, "", 502, network.ReasonConnectionRefused},
		{"time-out", []string{"HTTP/1.1 504 No\r\n\r\n"}, "", 504, network.ReasonTimeout},
		{"Proxy-Status says more", []string{"HTTP/1.1 503 No\r\nProxy-Status: p; error=dns_error\r\n\r\n"}, "", 503, network.ReasonDNS},
		{"101", []string{"HTTP/1.1 101 Switching\r\n\r\nx"}, "", 101, network.ReasonGateway},
		{"endless 1xx", []string{strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 40)}, "", 0, network.ReasonGateway},
		{"too long", []string{"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 20<<10) + "\r\n\r\n"}, "", 0, network.ReasonGateway},
		{"too many fields", []string{"HTTP/1.1 200 OK\r\n" + strings.Repeat("a: b\r\n", 200) + "\r\n"}, "", 0, network.ReasonGateway},
		{"bare LF", []string{"HTTP/1.1 200 OK\nA: b\r\n\r\n"}, "", 0, network.ReasonGateway},
		{"folded line", []string{"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"}, "", 0, network.ReasonGateway},
		{"space before the colon", []string{"HTTP/1.1 200 OK\r\nA : b\r\n\r\n"}, "", 0, network.ReasonGateway},
		{"not HTTP", []string{"SSH-2.0-x\r\n\r\n"}, "", 0, network.ReasonGateway},
		{"HTTP/2", []string{"HTTP/2 200 OK\r\n\r\n"}, "", 0, network.ReasonGateway},
		{"four digits", []string{"HTTP/1.1 0200 OK\r\n\r\n"}, "", 0, network.ReasonGateway},
		{"half an answer", []string{"HTTP/1.1 200 OK\r\n"}, "", 0, network.ReasonGateway},
		{"nothing", nil, "", 0, network.ReasonGateway},
	} {
		t.Run(c.name, func(t *testing.T) {
			ours, peer := transporttest.Pair(t)
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() {
				script(t, peer, c.pieces...)
				peer.CloseWrite()
			})
			conn, err := u.Wrap(t.Context(), ours, transport.Options{Endpoint: network.NameAddress("a.test", 25)})
			if c.want != "" {
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(conn); err != nil || string(b) != c.want {
					t.Errorf("payload: %q, %v", b, err)
				}
				return
			}
			var refused *transport.RefusedError
			if errors.As(err, &refused) != (c.status != 0) || (refused != nil && refused.Status != c.status) {
				t.Errorf("%v", err)
			}
			if got := network.ReasonFor(err); got != c.reason {
				t.Errorf("reason %v of %v", got, err)
			}
			if _, err := ours.Write([]byte("x")); err == nil {
				t.Error("the connection is still open")
			}
		})
	}
}

func TestConnectIsBounded(t *testing.T) {
	u := of(t, &h11v3.Http11ProxyUpstreamTransport{DefaultProxyAddress: socketAddress("192.0.2.8", 3128)}, transport.Deps{})
	ours, _ := transporttest.Pair(t) // a proxy that says nothing
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := u.Wrap(ctx, ours, transport.Options{Endpoint: network.NameAddress("a.test", 25)})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// The CONNECT of a flow counts its hops, and a loop ends here or is passed back
// as one that no attempt tries again.
func TestHTTP11ProxyCountsHops(t *testing.T) {
	u := of(t, &h11v3.Http11ProxyUpstreamTransport{}, transport.Deps{})
	for _, behind := range []int{0, 5, network.MaxHops} {
		info := network.NewStreamInfo(1)
		info.RaiseHops(behind)
		ours, peer := transporttest.Pair(t)
		var wg sync.WaitGroup
		if behind < network.MaxHops {
			wg.Go(func() {
				want := fmt.Sprintf("CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\ncdn-loop: culvert; hops=%d\r\n\r\n", behind+1)
				if got := script(t, peer, "HTTP/1.1 502 Bad\r\nProxy-Status: culvert;error=proxy_loop_detected\r\n\r\n"); got != want {
					t.Errorf("request: %q", got)
				}
			})
		}
		_, err := u.Wrap(t.Context(), ours, transport.Options{
			Info: info, Endpoint: network.NameAddress("a.test", 80), HostMetadata: proxyMetadata(t, "192.0.2.8"),
		})
		wg.Wait()
		if network.ReasonFor(err) != network.ReasonLoop || network.FlagFor(err) != 0 {
			t.Errorf("after %d hops: %v, reason %v, flag %v", behind, err, network.ReasonFor(err), network.FlagFor(err))
		}
	}
}
