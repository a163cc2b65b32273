package hcm

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/test/need"
	"culvert/test/peer"
	"culvert/tunnel"
)

// E02: connections that nobody has asked for yet, from which tunnels are made
// as from any other.
func TestE02EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		var accepted, used atomic.Int64
		more := make(chan struct{}, 16)
		g := terminates(t, m, setup{cluster: `"preconnect_policy":{"per_upstream_preconnect_ratio":1.5}`}, func(c *net.TCPConn) {
			accepted.Add(1)
			more <- struct{}{}
			if n, _ := io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}); n > 0 {
				used.Add(1)
			}
		})
		for i := range 2 {
			s := g.established(g.speak(m.Proto))
			mustWrite(t, s, "ping")
			mustRead(t, s, "ping")
			for range 2 - i { // one of its own and one in store, which the next tunnel uses and makes good
				received(t, more)
			}
			_ = s.CloseWrite()
			mustEnd(t, s)
		}
		g.wants("200 - via_upstream 4 4 origin", "200 - via_upstream 4 4 origin")
		if a, u := accepted.Load(), used.Load(); a < 3 || u != 2 {
			t.Errorf("%d connections, of which %d were used; want more than 2, and 2", a, u)
		}
	})
}

// E03, FB42: bytestream is a CONNECT by another name.
func TestE03FB42EveryMode(t *testing.T) {
	extends := func(m tunnel.Mode) bool { return m.Proto == codec.HTTP2 && m.Method == tunnel.MethodConnect } // RFC 8441
	forSome(t, extends, func(t *testing.T, m tunnel.Mode) {
		g := terminates(t, m, setup{more: "http2_protocol_options: {allow_connect: true}"}, func(c *net.TCPConn) {
			mustRead(t, c, "nine here")
			mustWrite(t, c, "and there")
			mustEnd(t, c)
		})
		cc := g.speak(m.Proto)
		s := request(t, cc, extended("bytestream"))
		if res := answered(t, s); res.Status != 200 || res.EndStream {
			t.Fatalf("%+v, want 200 and an open stream", res)
		}
		mustWrite(t, s, "nine here")
		mustRead(t, s, "and there")
		_ = s.CloseWrite()
		mustEnd(t, s)
		g.over(cc, s)
		g.wants("200 - via_upstream 9 9 origin")
		g.counted(map[string]int64{"downstream_cx_upgrades_total": 1, "upstream_cx_tx_bytes_total": 9, "upstream_cx_rx_bytes_total": 9})
	})
}

// E04, FB35: many streams on a connection, every other of which is reset at
// once; the rest do not notice.
func TestE04FB35EveryMode(t *testing.T) {
	const streams = 100
	forSome(t, tunnel.Mode.Shared, func(t *testing.T, m tunnel.Mode) {
		g := terminates(t, m, setup{}, echo)
		cc := g.speak(m.Proto)
		var wg sync.WaitGroup
		for i := range streams {
			wg.Go(func() { // ends with its tunnel
				s, err := cc.OpenStream(t.Context(), asks(m))
				if err != nil {
					t.Errorf("stream %d: %v", i, err)
					return
				}
				defer s.Close()
				patient(s)
				if i%2 == 0 {
					s.Reset(codec.CodeCancel, nil)
					return
				}
				if res, err := s.ReadResponse(t.Context()); err != nil || res.Status != 200 {
					t.Errorf("stream %d: %v %v", i, res, err)
					return
				}
				text := fmt.Sprintf("stream %d", i)
				mustWrite(t, s, text)
				_ = s.CloseWrite()
				if b, err := io.ReadAll(s); string(b) != text || err != nil {
					t.Errorf("stream %d: %q %v", i, b, err)
				}
			})
		}
		wg.Wait()
		if !cc.CanOpen() {
			t.Error("the connection did not outlive the resets")
		}
		g.settle(streams)
		g.counted(map[string]int64{
			"downstream_cx_total": 1, "downstream_rq_total": streams, "downstream_rq_active": 0, "downstream_rq_5xx": 0,
			"downstream_cx_upgrades_active": 0, "upstream_cx_active": 0, "upstream_rq_active": 0,
		})
	})
}

// E05: a record when the 200 is sent, and the one of the end.
func TestE05EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		g := terminates(t, m, setup{more: "access_log_options: {flush_log_on_tunnel_successfully_established: true}"}, echo)
		s := g.established(g.speak(m.Proto))
		mustWrite(t, s, "ping")
		mustRead(t, s, "ping")
		_ = s.CloseWrite()
		mustEnd(t, s)
		g.wants("DownstreamTunnelSuccessfullyEstablished 200 - via_upstream 0 0 origin", "200 - via_upstream 4 4 origin")
	})
}

// E07: allow_post makes a tunnel of a POST; without it a POST is an ordinary
// request, while a CONNECT is terminated either way.
func TestE07EveryMode(t *testing.T) {
	const here = `{match: {%}, route: {cluster: c, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {allow_post: #}}]}}`
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		match := `connect_matcher: {}`
		if m.Method == tunnel.MethodPost {
			match = `prefix: "/"`
		}
		route := strings.Replace(here, "%", match, 1)
		for allow, tunnels := range map[string]bool{"true": true, "false": m.Method == tunnel.MethodConnect} {
			t.Run("allow_post "+allow, func(t *testing.T) {
				g := terminates(t, m, setup{routes: strings.Replace(route, "#", allow, 1)}, func(c *net.TCPConn) {
					if tunnels {
						echo(c)
						return
					}
					if head := readHead(t, c); !strings.HasPrefix(head, "POST / HTTP/1.1\r\n") {
						t.Errorf("the origin read %q", head)
					}
					mustWrite(t, c, "HTTP/1.1 201 Created\r\ncontent-length: 4\r\n\r\nping")
					_, _ = io.Copy(io.Discard, c)
				})
				s := request(t, g.speak(m.Proto), asks(m))
				mustWriteUnlessRaw(t, m, s, "ping")
				res := answered(t, s)
				if want := map[bool]int{true: 200, false: 201}[tunnels]; res.Status != want {
					t.Errorf("status %d, want %d", res.Status, want)
				}
				if m.Raw() {
					mustWrite(t, s, "ping")
				}
				mustRead(t, s, "ping")
				_ = s.CloseWrite()
				mustEnd(t, s)
				g.settle(1)
				requests := int64(1)
				if tunnels {
					requests = 0
				}
				g.counted(map[string]int64{"upstream_cx_http1_total": requests, "upstream_cx_total": 1})
			})
		}
	})
}

// mustWriteUnlessRaw writes where there may be payload before the answer.
func mustWriteUnlessRaw(t *testing.T, m tunnel.Mode, w io.Writer, text string) {
	t.Helper()
	if !m.Raw() {
		mustWrite(t, w, text)
	}
}

// E14, FB31: bytes that come before the answer wait until there is one, and are
// delivered first.
func TestE14FB31EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		reached, open := make(chan struct{}), make(chan struct{})
		gate := filterFunc(func(ctx context.Context, x *codec.Exchange, next codec.RoundTripper) error {
			close(reached)
			<-open
			return next(ctx, x)
		})
		var connected atomic.Bool
		addr := serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
			connected.Store(true)
			_ = c.SetDeadline(time.Now().Add(soon))
			mustRead(t, c, "early and late")
			mustEnd(t, c)
		})
		g := &gateway{mode: m, origin: addr}
		text := strings.Replace(with(terminateRoute+","+postRoute, recordsLog), "[{name: router}]", "[{name: gate}, {name: router}]", 1)
		g.wire = serveWith(t, text, realCluster(t, `{"name":"c",`+loadAssignment(t, addr)+`}`), map[string]codec.Filter{"gate": gate}, m.Secure)
		var s io.ReadWriter
		var end func()
		if m.Raw() { // our own client does not send what it may not
			c := g.dialFor(m.Proto)
			mustWrite(t, c, "CONNECT foo.lyft.com:80 HTTP/1.1\r\nHost: foo.lyft.com:80\r\n\r\nearly")
			s, end = c, func() { _ = c.CloseWrite() }
		} else {
			cs := request(t, g.speak(m.Proto), asks(m))
			mustWrite(t, cs, "early")
			s, end = cs, func() { _ = cs.CloseWrite() }
		}
		received(t, reached)
		if connected.Load() {
			t.Error("the origin was connected to before the filters had their say")
		}
		close(open)
		if cs, ok := s.(codec.ClientStream); !ok {
			if head := readHead(t, s); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
				t.Errorf("head %q", head)
			}
		} else if res := answered(t, cs); res.Status != 200 {
			t.Errorf("status %d", res.Status)
		}
		mustWrite(t, s, " and late")
		end()
		mustEnd(t, s)
		g.wants("200 - via_upstream 14 0 origin")
	})
}

// E16, E17: a PROXY header comes first, once for each tunnel, and is no payload.
func TestE16E17EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		for _, c := range []proxyHeader{
			{"E16 V1", "V1", "127.0.0.1:0", 0},
			{"E17 V2 IPv4", "V2", "127.0.0.1:0", 28},
			{"E17 V2 IPv6", "V2", "[::1]:0", 52},
		} {
			t.Run(c.name, func(t *testing.T) { c.test(t, m) })
		}
	})
}

type proxyHeader struct {
	name, version, listen string
	length                int // of a binary one
}

func (c proxyHeader) test(t *testing.T, m tunnel.Mode) {
	if c.length == 52 {
		need.IPv6(t)
	}
	config := "connect_config: {allow_post: true, proxy_protocol_config: {version: " + c.version + "}}"
	routes := strings.ReplaceAll(terminateRoute, "connect_config: {}", config) + "," +
		strings.ReplaceAll(postRoute, "connect_config: {allow_post: true}", config)
	got := make(chan string, 1)
	origin := serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		_ = c.SetDeadline(time.Now().Add(soon))
		b, _ := io.ReadAll(c)
		got <- string(b)
	})
	g := gatewayAt(t, m, setup{routes: routes}, origin, c.listen)
	conn := g.dialFor(m.Proto)
	s := g.established(speakOn(t, conn, m.Proto))
	mustWrite(t, s, "payload")
	_ = s.CloseWrite()
	header, ok := strings.CutSuffix(received(t, got), "payload")
	if want := c.between(conn); !ok || header != want || c.length > 0 && len(header) != c.length {
		t.Errorf("the origin read %q and payload (%v), want %q", header, ok, want)
	}
	mustEnd(t, s)
	g.wants("200 - via_upstream 7 0 origin")
	sent := network.WireBytes{Sent: uint64(len(header)) + 7, HeaderSent: uint64(len(header))}
	if got := g.lastExchange().UpstreamBytes(); got != sent {
		t.Errorf("sent %+v, want %+v", got, sent)
	}
}

// between is the header of a client's connection.
func (c proxyHeader) between(conn net.Conn) string {
	from, to := network.AddressOf(conn.LocalAddr()).IP, network.AddressOf(conn.RemoteAddr()).IP
	if c.version == "V1" {
		return fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n", from.Port(), to.Port())
	}
	family := byte(0x11)
	if from.Addr().Is6() {
		family = 0x21
	}
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21"), family, 0, byte(c.length-16))
	b = append(append(b, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	return string(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, from.Port()), to.Port()))
}

// E19: METADATA frames mean nothing to a tunnel.
func TestE19EveryMode(t *testing.T) {
	forSome(t, tunnel.Mode.Shared, func(t *testing.T, m tunnel.Mode) {
		g := terminates(t, m, setup{}, func(c *net.TCPConn) {
			mustRead(t, c, "beforeafter")
			mustEnd(t, c)
		})
		c := g.dialFor(m.Proto)
		mustWrite(t, c, http2.ClientPreface)
		fr := http2.NewFramer(c, c)
		fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		const metadata = http2.FrameType(0x4d)
		write := func(errs ...error) {
			for _, err := range errs {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		block := headBlock(asks(m))
		write(fr.WriteSettings(), fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true}),
			fr.WriteData(1, false, []byte("before")), fr.WriteRawFrame(metadata, 0x4, 1, []byte("\x00\x01a\x01b")),
			fr.WriteData(1, false, []byte("after")), fr.WriteRawFrame(metadata, 0x4, 1, []byte("\x00\x01a\x01b")),
			fr.WriteData(1, true, nil))
		status := ""
		for ended := false; !ended; {
			f, err := fr.ReadFrame()
			if err != nil {
				t.Fatalf("before the end: %v", err)
			}
			switch f := f.(type) {
			case *http2.MetaHeadersFrame:
				status, ended = f.PseudoValue("status"), f.StreamEnded()
			case *http2.DataFrame:
				ended = f.StreamEnded()
			case *http2.RSTStreamFrame, *http2.GoAwayFrame:
				t.Fatalf("answered with %v", f)
			}
		}
		if status != "200" {
			t.Errorf("status %s", status)
		}
		g.wants("200 - via_upstream 11 0 origin")
	})
}

// headBlock is a request's HPACK block.
func headBlock(req *codec.Request) []byte {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	fields := []hpack.HeaderField{{Name: ":method", Value: req.Method}, {Name: ":authority", Value: req.Authority}}
	if req.HasPath {
		fields = append(fields, hpack.HeaderField{Name: ":scheme", Value: req.Scheme}, hpack.HeaderField{Name: ":path", Value: req.Path})
	}
	for _, f := range fields {
		_ = enc.WriteField(f) // a bytes.Buffer takes all
	}
	return block.Bytes()
}

// E20: an origin that reads nothing stops the client, whose bytes then all
// arrive, in order, when it reads again.
func TestE20EveryMode(t *testing.T) {
	payload := peer.Stream{Seed: 20, Size: 64 << 20}
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		read := make(chan struct{})
		g := terminates(t, m, setup{}, func(c *net.TCPConn) {
			_ = c.SetReadBuffer(64 << 10)
			mustWrite(t, c, "stuck")
			<-read
			v := payload.Verify()
			_, err := io.Copy(v, struct{ io.Reader }{c})
			if err == nil {
				err = v.Complete()
			}
			if err != nil {
				t.Errorf("the origin: %v", err)
			}
			mustWrite(t, c, "done")
		})
		s := g.established(g.speak(m.Proto))
		mustRead(t, s, "stuck")
		sent := &counter{w: s}
		wrote := make(chan error, 1)
		go func() { // ends with the payload
			_, err := io.Copy(sent, payload.Reader())
			_ = s.CloseWrite()
			wrote <- err
		}()
		held := sent.pauses(t)
		close(read)
		if held >= payload.Size {
			t.Errorf("all of %d bytes found room", held)
		}
		mustRead(t, s, "done")
		mustEnd(t, s)
		if err := received(t, wrote); err != nil {
			t.Errorf("the client: %v", err)
		}
		g.wants(fmt.Sprintf("200 - via_upstream %d 9 origin", payload.Size))
	})
}

// counter counts what its writer took.
type counter struct {
	w io.Writer
	n atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// pauses waits until the writer has taken something and takes no more, and
// returns how much that was.
func (c *counter) pauses(t *testing.T) int64 {
	t.Helper()
	const quiet = 50 // looks without a change
	last, same := int64(0), 0
	for deadline := time.Now().Add(soon); same < quiet; time.Sleep(2 * time.Millisecond) {
		if n := c.n.Load(); n != last || n == 0 {
			last, same = n, 0
		} else {
			same++
		}
		if time.Now().After(deadline) {
			t.Fatalf("the writer still moves after %d bytes", last)
		}
	}
	return last
}
