package hcm

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"culvert/proxy/codec"
	"culvert/proxy/httpfilter/router"
	"culvert/proxy/network"
	"culvert/tunnel"
)

// D08: routes see the authority without its port, the upstream with it.
func TestD08StripAnyHostPort(t *testing.T) {
	heads := make(chan *codec.Request, 1)
	c := httpOrigin(t, codec.HTTP2, func(s codec.ServerStream) {
		heads <- s.Request()
		_ = s.WriteResponse(&codec.Response{Status: 200, EndStream: true})
	})
	const text = "stat_prefix: in\nstrip_any_host_port: true\nhttp_filters: [{name: router}]\n" +
		"route_config: {virtual_hosts: [{name: v, domains: [foo.lyft.com], routes: [" + proxyRoute + "]}]}\n"
	s := request(t, serve(t, text, c, false).speak(codec.HTTP2), connect())
	if res := answered(t, s); res.Status != 200 {
		t.Fatalf("status %d", res.Status)
	}
	if head := <-heads; head.Authority != "foo.lyft.com:80" {
		t.Errorf("the upstream saw %q", head.Authority)
	}
}

// E15: early bytes behind an HTTP/1.1 CONNECT are refused where configured, and
// nothing is dialled.
func TestE15EarlyDataRefused(t *testing.T) {
	r, err := router.New(&routerv3.Router{RejectConnectRequestEarlyData: wrapperspb.Bool(true)}, router.Deps{
		Clusters: func(string) (router.Cluster, bool) { return fakeCluster{}, true }, Flows: network.NewFlowTable(),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := serveWith(t, with(terminateRoute, ""), nil, map[string]codec.Filter{"router": r}, false)
	c := w.dial1()
	defer c.Close()
	res, _ := ask(t, c, "CONNECT", "CONNECT foo.lyft.com:80 HTTP/1.1\r\nHost: foo.lyft.com:80\r\n\r\nearly")
	if res.StatusCode != 400 || !res.Close {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}

// E16, E17: the PROXY header comes first, once.
func TestE16E17ProxyHeader(t *testing.T) {
	for version, length := range map[string]int{"V1": 0, "V2": 28} {
		t.Run(version, func(t *testing.T) {
			got := make(chan string, 1)
			route := strings.Replace(terminateRoute, "connect_config: {}", "connect_config: {proxy_protocol_config: {version: "+version+"}}", 1)
			w := serve(t, with(route, ""), tcpOrigin(t, func(c *net.TCPConn) {
				_ = c.SetDeadline(time.Now().Add(soon))
				b, _ := io.ReadAll(c)
				got <- string(b)
			}), false)
			s := w.open(w.client())
			mustWrite(t, s, "payload")
			_ = s.CloseWrite()
			text, ok := strings.CutSuffix(<-got, "payload")
			switch {
			case !ok:
				t.Errorf("the origin read %q", text)
			case version == "V1" && (!strings.HasPrefix(text, "PROXY TCP4 127.0.0.1 127.0.0.1 ") || strings.Count(text, "\r\n") != 1):
				t.Errorf("header %q", text)
			case version == "V2" && (len(text) != length || !strings.HasPrefix(text, "\r\n\r\n\x00\r\nQUIT\n")):
				t.Errorf("header %q of %d bytes", text, len(text))
			}
		})
	}
}

// Fields that the configuration adds and removes, on the way there and back.
func TestMutationsOnTheWay(t *testing.T) {
	forPairs(t, func(t *testing.T, p pair) {
		heads := make(chan *codec.Request, 1)
		route := strings.TrimSuffix(plainRoute, "}") + `, request_headers_to_add: [{header: {key: x-from, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}],` +
			` request_headers_to_remove: [x-secret], response_headers_to_add: [{header: {key: x-code, value: "%RESPONSE_CODE%"}}]}`
		_, cc := plain(t, p, route, func(s codec.ServerStream) {
			heads <- s.Request()
			_ = s.WriteResponse(&codec.Response{Status: 201, EndStream: true})
		})
		req := get("/")
		req.Header.Add("x-secret", "1")
		res := answered(t, request(t, cc, req))
		if head := <-heads; head.Header.Get("x-from") != "127.0.0.1" || head.Header.Has("x-secret") {
			t.Errorf("the upstream saw %v", head.Header)
		}
		if !res.Header.Has("x-code") {
			t.Errorf("the client saw %v", res.Header)
		}
	})
}

// E13: the cluster bounds how long a tunnel lives, in every mode.
func TestE13EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { // ends with the one connection
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(soon))
			if _, err := c.Read(make([]byte, 1)); !network.IsReset(err) {
				t.Errorf("the origin read %v, want a reset", err)
			}
			_ = c.Close()
		})
		t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
		c := realCluster(t, fmt.Sprintf(`{"name":"c","common_http_protocol_options":{"max_stream_duration":"0.2s"},
			"load_assignment":{"cluster_name":"c","endpoints":[{"lb_endpoints":[{"endpoint":{"address":
			{"socket_address":{"address":"127.0.0.1","port_value":%d}}}}]}]}}`, ln.Addr().(*net.TCPAddr).Port))
		s := serve(t, with(terminateRoute+","+postRoute, ""), c, m.Secure).tunnelOf(m)
		if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the client read %v, want a reset", err)
		}
	})
}
