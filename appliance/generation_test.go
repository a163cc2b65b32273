package appliance

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/configs"
	"culvert/test/peer"
	"culvert/test/ports"
)

// tunnelTemplate is both halves of a tunnel in one process:
// application -> front -> CONNECT over HTTP/2 over TLS -> gateway -> origin.
const tunnelTemplate = `
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Front}}}}
    filter_chains:
    - filters:
      - name: tunnel
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tunnel
          cluster: gateway
          tunneling_config: {hostname: "origin.test:80"}
  - name: gateway
    address: {socket_address: {address: 127.0.0.1, port_value: {{.Gateway}}}}
    filter_chains:
    - transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            alpn_protocols: [h2]
            tls_certificates: [{certificate_chain: {filename: "{{.Dir}}/gateway.pem"}, private_key: {filename: "{{.Dir}}/gateway.key"}}]
            validation_context: {trusted_ca: {filename: "{{.Dir}}/ca.pem"}}
      filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          codec_type: HTTP2
          http_filters: [{name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
          upgrade_configs: [{upgrade_type: CONNECT}]
          route_config:
            virtual_hosts:
            - name: any
              domains: ["*"]
              routes:
              - match: {connect_matcher: {}}
                route: {cluster: origin, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}
  clusters:
  - name: gateway
    type: STATIC
    connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    transport_socket:
      name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: gateway.test
        common_tls_context:
          alpn_protocols: [h2]
          tls_certificates: [{certificate_chain: {filename: "{{.Dir}}/client.pem"}, private_key: {filename: "{{.Dir}}/client.key"}}]
          validation_context: {trusted_ca: {filename: "{{.Dir}}/ca.pem"}}
    load_assignment:
      cluster_name: gateway
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.Gateway}}}}}}]}]
  - name: origin
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: origin
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.Origin}}}}}}]}]
`

// tunnelWorld is the ports and the origins, one for each configuration.
type tunnelWorld struct {
	t              *testing.T
	dir            string
	Front, Gateway int
}

func newTunnelWorld(t *testing.T) *tunnelWorld {
	w := &tunnelWorld{t: t, dir: t.TempDir()}
	certificates(t, w.dir)
	p := ports.Free(t, 2)
	w.Front, w.Gateway = p[0], p[1]
	return w
}

func (w *tunnelWorld) config(origin net.Addr) string {
	return render(w.t, tunnelTemplate, map[string]any{
		"Dir": w.dir, "Front": w.Front, "Gateway": w.Gateway, "Origin": portOf(origin.String()),
	})
}

// origin greets with one letter, then echoes.
func (w *tunnelWorld) origin(letter byte) net.Addr {
	ln := listen(w.t)
	peer.Serve(w.t, ln, func(ctx context.Context, c net.Conn) error {
		defer c.Close()
		if _, err := c.Write([]byte{letter}); err != nil {
			return err
		}
		_, err := io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
		if err != nil {
			return err
		}
		return c.(*net.TCPConn).CloseWrite()
	})
	return ln.Addr()
}

// dial connects through the tunnel and reads whom it met.
func (w *tunnelWorld) dial() (*net.TCPConn, byte, error) {
	c, err := net.Dial("tcp", loopback(w.Front))
	if err != nil {
		return nil, 0, err
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, 0, err
	}
	letter := make([]byte, 1)
	if _, err := io.ReadFull(c, letter); err != nil {
		return nil, 0, errors.Join(err, c.Close())
	}
	return c.(*net.TCPConn), letter[0], nil
}

// meets fails the test unless a new connection meets the origin of that letter.
func (w *tunnelWorld) meets(want byte) {
	w.t.Helper()
	c, got, err := w.dial()
	if err != nil {
		w.t.Fatal(err)
	}
	if got != want {
		w.t.Errorf("a new connection meets origin %c, want %c", got, want)
	}
	if err := c.Close(); err != nil {
		w.t.Error(err)
	}
}

// transfer sends random bytes until told to end, and hashes what comes back.
type transfer struct {
	conn       *net.TCPConn
	stop       atomic.Bool
	moved      atomic.Int64 // echoed bytes so far
	sent, back hash.Hash
	wg         sync.WaitGroup
	errs       [2]error
}

func (w *tunnelWorld) transfer(letter byte) *transfer {
	w.t.Helper()
	c, got, err := w.dial()
	if err != nil || got != letter {
		w.t.Fatalf("met %q, %v", got, err)
	}
	_ = c.SetDeadline(time.Time{})
	x := &transfer{conn: c, sent: sha256.New(), back: sha256.New()}
	x.wg.Go(func() { x.errs[0] = x.send() })    // ends with stop, or the connection
	x.wg.Go(func() { x.errs[1] = x.receive() }) // ends with the connection
	w.t.Cleanup(func() {
		x.stop.Store(true)
		_ = c.Close()
		x.wg.Wait()
	})
	return x
}

func (x *transfer) send() error {
	block := make([]byte, 64<<10)
	for !x.stop.Load() {
		_, _ = rand.Read(block) // never fails
		if _, err := x.conn.Write(block); err != nil {
			return err
		}
		x.sent.Write(block)
	}
	return x.conn.CloseWrite()
}

func (x *transfer) receive() error {
	buf := make([]byte, 64<<10)
	for {
		n, err := x.conn.Read(buf)
		x.back.Write(buf[:n])
		x.moved.Add(int64(n))
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// flows waits until the transfer has moved on by some MiB.
func (x *transfer) flows(t *testing.T) {
	t.Helper()
	from := x.moved.Load()
	eventually(t, "the transfer moves", func() bool { return x.moved.Load() > from+4<<20 })
}

// finish ends the transfer and compares.
func (x *transfer) finish(t *testing.T) {
	t.Helper()
	x.stop.Store(true)
	x.wg.Wait()
	if err := errors.Join(x.errs[:]...); err != nil {
		t.Errorf("transfer: %v", err)
	}
	if got, want := fmt.Sprintf("%x", x.back.Sum(nil)), fmt.Sprintf("%x", x.sent.Sum(nil)); got != want {
		t.Errorf("%d bytes came back with SHA-256 %s, want %s", x.moved.Load(), got, want)
	}
}

// hammer connects without pause until stop; every connection must be served.
type hammer struct {
	stop    atomic.Bool
	wg      sync.WaitGroup
	count   atomic.Int64
	failure atomic.Pointer[error]
}

func (w *tunnelWorld) hammer(goroutines int) *hammer {
	h := &hammer{}
	for range goroutines {
		h.wg.Go(func() { // ends with stop
			for !h.stop.Load() {
				c, _, err := w.dial()
				if err == nil {
					err = c.Close()
				}
				if err != nil {
					h.failure.CompareAndSwap(nil, &err)
					return
				}
				h.count.Add(1)
			}
		})
	}
	w.t.Cleanup(func() {
		h.stop.Store(true)
		h.wg.Wait()
	})
	return h
}

// goesOn waits for some more connections.
func (h *hammer) goesOn(t *testing.T) {
	t.Helper()
	from := h.count.Load()
	eventually(t, "new connections", func() bool { return h.failure.Load() != nil || h.count.Load() > from+20 })
}

func (h *hammer) finish(t *testing.T) {
	t.Helper()
	h.stop.Store(true)
	h.wg.Wait()
	if err := h.failure.Load(); err != nil {
		t.Errorf("after %d connections: %v", h.count.Load(), *err)
	}
}

// Two swaps under a transfer both ways that never pauses, and under new
// connections that never pause: the transfer does not notice, each connection
// made after a swap meets the new configuration, and none is refused.
func TestSwapUnderTransfer(t *testing.T) {
	w := newTunnelWorld(t)
	origins := map[byte]net.Addr{'A': w.origin('A'), 'B': w.origin('B'), 'C': w.origin('C')}
	s := serve(t, w.config(origins['A']), time.Minute)
	x := w.transfer('A')
	h := w.hammer(3)
	x.flows(t)
	h.goesOn(t)
	for i, letter := range []byte{'B', 'C'} {
		if err := s.Swap(t.Context(), configs.Source{YAML: w.config(origins[letter])}); err != nil {
			t.Fatal(err)
		}
		w.meets(letter)
		h.goesOn(t)
		x.flows(t)
		s.counts(t, map[string]int64{"server.config_replaced": int64(i + 1)})
	}
	h.finish(t)
	if got := s.value("listener_manager.total_listeners_draining"); got == 0 {
		t.Error("no listener drains although a transfer goes on")
	}
	x.finish(t)
	eventually(t, "the replaced generations end", func() bool { return s.value("listener_manager.total_listeners_draining") == 0 })
	w.meets('C')
	s.counts(t, map[string]int64{
		"listener_manager.listener_added": 2, "listener_manager.listener_modified": 0,
		"cluster_manager.cluster_added": 2, "cluster_manager.cluster_modified": 2, "cluster_manager.active_clusters": 2,
		"listener_manager.total_listeners_active": 2,
	})
}

// What cannot be used changes nothing and says why.
func TestSwapRefused(t *testing.T) {
	w := newTunnelWorld(t)
	taken := listen(t)
	defer taken.Close()
	good := w.config(w.origin('A'))
	other := w.origin('B')
	admin := func(port int) string {
		return fmt.Sprintf("admin: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}\n", port)
	}
	tests := []struct{ name, yaml, want string }{
		{"syntax", "static_resources: [", "--config-yaml"},
		{"unknown field", "static_resurces: {}", "static_resurces"},
		{"invalid", strings.Replace(w.config(other), "cluster: origin,", "cluster: nowhere,", 1),
			"static_resources.listeners[1].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0].routes[0].route.cluster: route: unknown cluster 'nowhere'"},
		{"a port that is taken, after one that is not", strings.Replace(w.config(other), fmt.Sprint(w.Gateway), portOf(taken.Addr().String()), 1),
			`reload: listener "gateway": listen on ` + taken.Addr().String() + ": bind: address already in use"},
		{"admin", admin(ports.Free(t, 1)[0]) + w.config(other), "admin: the admin listens on -: a reload cannot move it (restart to change it)"},
		{"tun", `bootstrap_extensions: [{name: tun, typed_config: {"@type": type.googleapis.com/culvert.v1.Tun}}]` + w.config(other),
			"bootstrap_extensions: the TUN devices differ from the running ones: a reload cannot change them (restart to change them)"},
	}
	s := serve(t, good, time.Minute)
	x := w.transfer('A')
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := s.Swap(t.Context(), configs.Source{YAML: tt.yaml})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
			w.meets('A')
		})
	}
	x.flows(t)
	x.finish(t)
	s.counts(t, map[string]int64{"server.config_rejected": int64(len(tests)), "server.config_replaced": 0})
}

// Reload reads the file again.
func TestReload(t *testing.T) {
	w := newTunnelWorld(t)
	path := filepath.Join(t.TempDir(), "culvert.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(w.config(w.origin('A')))
	s := newServed(t, configs.Source{Path: path}, time.Minute)
	if err := s.Reload(t.Context()); !errors.Is(err, errNotRunning) {
		t.Errorf("reload before Run: %v", err)
	}
	s.start(t)
	<-s.Live()
	w.meets('A')
	write(w.config(w.origin('B')))
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.meets('B')
	write("static_resources: nothing")
	if err := s.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), path+":1") {
		t.Errorf("error %v, want the file and the line", err)
	}
	w.meets('B')
	s.drain()
	if err := s.wait(t); err != nil {
		t.Error(err)
	}
	if err := s.Reload(t.Context()); err == nil {
		t.Error("a reload after the end succeeded")
	}
}

// A listener that the new configuration has no more is closed; one that it has
// in addition is open when Swap returns.
func TestSwapAddsAndRemoves(t *testing.T) {
	w := newTunnelWorld(t)
	origin := w.origin('A')
	s := serve(t, w.config(origin), time.Minute)
	old := w.Front
	w.Front = ports.Free(t, 1)[0]
	if err := s.Swap(t.Context(), configs.Source{YAML: w.config(origin)}); err != nil {
		t.Fatal(err)
	}
	w.meets('A')
	if c, err := net.Dial("tcp", loopback(old)); err == nil {
		_ = c.Close()
		t.Error("the removed listener still takes connections")
	}
	s.counts(t, map[string]int64{"listener_manager.listener_modified": 1})
}
