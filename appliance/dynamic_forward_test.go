package appliance

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/configs"
	"culvert/proxy/accesslog"
	"culvert/proxy/resolver"
	"culvert/test/peer"
	"culvert/test/ports"
)

// zone is a resolver that knows origin.test, and notes what it is asked for.
type zone struct {
	mu    sync.Mutex
	asked []string
}

func (z *zone) Lookup(_ context.Context, host string, _ resolver.Family) ([]netip.Addr, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked = append(z.asked, host)
	if host == "origin.test" {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (z *zone) questions() string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return strings.Join(z.asked, " ")
}

// serveResolving is serve with names that z resolves.
func serveResolving(t *testing.T, yaml string, z *zone) *served {
	t.Helper()
	s := &served{log: &logText{}, done: make(chan struct{})}
	src := configs.Source{YAML: yaml}
	s.Appliance = newAppliance(src, Options{
		Log:    slog.New(slog.NewTextHandler(s.log, nil)),
		Stdout: io.Discard, Stderr: io.Discard, DrainTime: time.Minute,
	}, accesslog.NewSinks(io.Discard, io.Discard))
	s.resolver = z
	var err error
	if s.current, err = s.load(src); err != nil {
		t.Fatal(err)
	}
	s.start(t)
	<-s.Live()
	return s
}

// dynamicConfig ends CONNECTs and forwards requests to whatever they name: those
// for /proxied by way of a proxy.
const dynamicConfig = `
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Front}}}}
    filter_chains: [{filters: [{name: hcm, typed_config: {"@type": {{.HCM}}, stat_prefix: front, upgrade_configs: [{upgrade_type: CONNECT}],
      access_log: [{name: file, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: "{{.Log}}",
        log_format: {text_format_source: {inline_string: "%REQ(:AUTHORITY)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS%\n"}}}}],
      http_filters: [{name: dfp, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig, dns_cache_config: {name: one}}}, {{.Router}}],
      route_config: {virtual_hosts: [{name: any, domains: ["*"], routes: [
        {match: {connect_matcher: {}}, route: {cluster: named, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}},
        {match: {prefix: /proxied}, route: {cluster: proxied}},
        {match: {prefix: /}, route: {cluster: named}}]}]}}}]}]
  clusters:
  - name: named
    lb_policy: CLUSTER_PROVIDED
    cluster_type: {name: dfp, typed_config: {"@type": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: {name: one}}}
  - name: proxied
    lb_policy: CLUSTER_PROVIDED
    cluster_type: {name: dfp, typed_config: {"@type": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: {name: one}}}
    transport_socket:
      name: http_11_proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.http_11_proxy.v3.Http11ProxyUpstreamTransport
        default_proxy_address: {socket_address: {address: 127.0.0.1, port_value: {{.Proxy}}}}
        transport_socket: {name: raw, typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}
`

// dynamicWorld is dynamicConfig served, with a proxy that answers by itself and
// notes the URLs it is asked for.
type dynamicWorld struct {
	*served
	zone  *zone
	front int
	log   string
	urls  chan string
}

func newDynamicWorld(t *testing.T) *dynamicWorld {
	w := &dynamicWorld{zone: &zone{}, front: ports.Free(t, 1)[0], log: filepath.Join(t.TempDir(), "access.log"), urls: make(chan string, 16)}
	proxy := listen(t)
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { w.urls <- r.RequestURI })}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(proxy) }() // ends with Close
	t.Cleanup(func() { _ = srv.Close(); <-done })
	w.served = serveResolving(t, render(t, dynamicConfig, map[string]any{
		"Front": w.front, "Proxy": portOf(proxy.Addr().String()), "Log": w.log, "HCM": hcmType, "Router": routerFilter,
	}), w.zone)
	return w
}

// records are the log's, once all is over.
func (w *dynamicWorld) records(t *testing.T) string {
	t.Helper()
	w.drain()
	if err := w.wait(t); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(w.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// L08: a CONNECT's authority is resolved, and reached; a name that is none is
// 503, and told as that.
func TestL08ConnectToNames(t *testing.T) {
	for name, connect := range map[string]func(*testing.T, int, string) (int, io.ReadWriteCloser){"L08 HTTP/1.1": connectHTTP1, "L08 HTTP/2": connectHTTP2} {
		t.Run(name, func(t *testing.T) {
			origin := peer.Serve(t, listen(t), peer.Echo())
			w := newDynamicWorld(t)
			status, tunnel := connect(t, w.front, "origin.test:"+portOf(origin.Addr()))
			if status != 200 {
				t.Fatalf("%d", status)
			}
			if _, err := io.WriteString(tunnel, "x"); err != nil {
				t.Error(err)
			}
			if _, err := io.ReadFull(tunnel, make([]byte, 1)); err != nil {
				t.Error(err)
			}
			_ = tunnel.Close()
			status, tunnel = connect(t, w.front, "nowhere.test:443")
			if status != 503 {
				t.Errorf("a name that is none: %d", status)
			}
			_ = tunnel.Close()
			if got := w.zone.questions(); got != "origin.test nowhere.test" {
				t.Errorf("asked for %s", got)
			}
			if got := w.records(t); !strings.Contains(got, "nowhere.test:443 503 dns_resolution_failure DF\n") {
				t.Errorf("records:\n%s", got)
			}
		})
	}
}

// connectHTTP1 asks for a tunnel.
func connectHTTP1(t *testing.T, port int, authority string) (int, io.ReadWriteCloser) {
	t.Helper()
	c, err := net.Dial("tcp", loopback(port))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", authority, authority)
	res, err := http.ReadResponse(bufio.NewReaderSize(c, 16), &http.Request{Method: "CONNECT"}) // nothing follows unasked
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, c
}

// connectHTTP2 is the same on a stream of a connection of its own.
func connectHTTP2(t *testing.T, port int, authority string) (int, io.ReadWriteCloser) {
	t.Helper()
	client := http2Client()
	t.Cleanup(client.CloseIdleConnections)
	r, out := io.Pipe()
	res, err := client.Transport.RoundTrip(&http.Request{
		Method: http.MethodConnect, URL: &url.URL{Scheme: "http", Host: loopback(port)}, Host: authority, Header: http.Header{}, Body: r, ContentLength: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	var in io.Reader = res.Body
	if res.StatusCode/100 != 2 { // no tunnel: who leaves before the end of the answer is recorded as that
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Error(err)
		}
		in = bytes.NewReader(body)
	}
	return res.StatusCode, struct {
		io.Reader
		io.WriteCloser
	}{in, closers{out, res.Body}}
}

// closers writes to the one and closes both.
type closers struct {
	io.WriteCloser
	also io.Closer
}

func (c closers) Close() error {
	_ = c.WriteCloser.Close()
	return c.also.Close()
}

// L05: requests that a proxy takes have their names resolved there, not here;
// the others are 503 where the name is none.
func TestL05NamesLeftToTheProxy(t *testing.T) {
	w := newDynamicWorld(t)
	get := func(path string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+loopback(w.front)+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "nowhere.test"
		res, err := client(t, false).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	if status := get("/proxied?x=1"); status != 200 {
		t.Errorf("by way of the proxy: %d", status)
	}
	select {
	case got := <-w.urls:
		if got != "http://nowhere.test/proxied?x=1" {
			t.Errorf("the proxy was asked for %s", got)
		}
	default:
		t.Error("the proxy was not asked")
	}
	if got := w.zone.questions(); got != "" {
		t.Errorf("asked for %s", got)
	}
	if status := get("/"); status != 503 {
		t.Errorf("without a proxy: %d", status)
	}
	if got := w.records(t); !strings.Contains(got, "nowhere.test 503 dns_resolution_failure DF\n") {
		t.Errorf("records:\n%s", got)
	}
}
