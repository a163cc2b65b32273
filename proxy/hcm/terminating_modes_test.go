package hcm

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/tunnel"
)

const postRoute = `{match: {prefix: "/"}, route: {cluster: c, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {allow_post: true}}]}}`

// forModes runs body once for each mode a tunnel can be asked for in.
func forModes(t *testing.T, body func(t *testing.T, m tunnel.Mode)) {
	t.Helper()
	forSome(t, func(tunnel.Mode) bool { return true }, body)
}

// forSome is forModes for those modes in which a thing can be said.
func forSome(t *testing.T, which func(tunnel.Mode) bool, body func(t *testing.T, m tunnel.Mode)) {
	t.Helper()
	for _, m := range tunnel.Modes() {
		if which(m) {
			t.Run(m.String(), func(t *testing.T) { body(t, m) })
		}
	}
}

// asks is the request for a tunnel.
func asks(m tunnel.Mode) *codec.Request {
	if m.Method == tunnel.MethodConnect {
		return connect()
	}
	r := post("/")
	r.Authority = "foo.lyft.com:80"
	return r
}

// tunnelOf is a tunnel that has its 200, on a connection of its own.
func (w *wire) tunnelOf(m tunnel.Mode) codec.ClientStream {
	w.t.Helper()
	return w.tunnelOn(w.speak(m.Proto), m)
}

// tunnelOn is a tunnel that has its 200, on a connection.
func (w *wire) tunnelOn(cc httpClient, m tunnel.Mode) codec.ClientStream {
	w.t.Helper()
	s := request(w.t, cc, asks(m))
	if res := answered(w.t, s); res.Status != 200 || res.EndStream {
		w.t.Fatalf("%+v, want 200 and an open stream", res)
	}
	return s
}

// E01: a 200 that ends nothing, bytes both ways, and ends that are ends: of the
// client's direction at the origin, then of the origin's at the client, never a
// reset. What is counted is the payload.
func TestE01EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		g := terminates(t, m, setup{}, func(c *net.TCPConn) {
			mustRead(t, c, "nine here")
			mustWrite(t, c, "and there")
			mustEnd(t, c)
		})
		cc := g.speak(m.Proto)
		s := g.established(cc)
		mustWrite(t, s, "nine here")
		mustRead(t, s, "and there")
		_ = s.CloseWrite()
		mustEnd(t, s)
		g.over(cc, s)
		g.wants("200 - via_upstream 9 9 origin")
		upgrades := int64(0)
		if m.Method == tunnel.MethodConnect {
			upgrades = 1
		}
		g.counted(map[string]int64{
			"downstream_rq_total": 1, "downstream_rq_2xx": 1, "downstream_rq_active": 0,
			"downstream_rq_rx_reset": 0, "downstream_rq_tx_reset": 0,
			"downstream_cx_upgrades_total": upgrades, "downstream_cx_upgrades_active": 0,
			"upstream_cx_total": 1, "upstream_cx_active": 0, "upstream_rq_total": 1, "upstream_rq_active": 0,
			"upstream_cx_tx_bytes_total": 9, "upstream_cx_rx_bytes_total": 9,
		})
	})
}

// E01, E14: megabytes; the client's end first, behind which the origin still
// sends. A byte that a POST sends before the answer waits.
func TestE01E14BulkEveryMode(t *testing.T) {
	const up, down = 2 << 20, 1 << 20
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		g := terminates(t, m, setup{}, func(c *net.TCPConn) {
			n, err := io.Copy(io.Discard, c) // until the client's end
			if n != up || err != nil {
				t.Errorf("the origin read %d bytes, %v", n, err)
			}
			_, _ = c.Write(make([]byte, down))
		})
		s := request(t, g.speak(m.Proto), asks(m))
		left := up
		if !m.Raw() {
			mustWrite(t, s, "early")
			left -= len("early")
		}
		if res := answered(t, s); res.Status != 200 {
			t.Fatalf("status %d", res.Status)
		}
		mustWrite(t, s, strings.Repeat("x", left))
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, s); n != down || err != nil {
			t.Errorf("read %d bytes, %v", n, err)
		}
		g.wants("200 - via_upstream 2097152 1048576 origin")
	})
}

// E08, FB32: a client that closes its connection. In an HTTP/1.1 CONNECT that is
// how its direction ends; everywhere else it breaks off what it was sending.
func TestE08FB32EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		g := terminates(t, m, setup{}, func(c *net.TCPConn) {
			mustRead(t, c, "12345")
			mustWrite(t, c, "123456")
			if m.Raw() {
				mustEnd(t, c)
			} else {
				mustReset(t, c)
			}
		})
		conn := g.dialFor(m.Proto)
		s := g.established(speakOn(t, conn, m.Proto))
		mustWrite(t, s, "12345")
		mustRead(t, s, "123456")
		_ = conn.Close()
		record, resets := "200 DC downstream_remote_disconnect 5 6 origin", int64(1)
		if m.Raw() {
			record, resets = "200 - via_upstream 5 6 origin", 0
		}
		g.wants(record)
		g.counted(map[string]int64{
			"downstream_rq_rx_reset": resets, "downstream_rq_tx_reset": 0, "upstream_cx_active": 0, "upstream_rq_active": 0,
		})
	})
}

// E09, FB32: a client that resets its stream, which over HTTP/1.1 is its
// connection: the origin's connection is reset.
func TestE09FB32EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		g := terminates(t, m, setup{}, func(c *net.TCPConn) {
			mustRead(t, c, "12345")
			mustWrite(t, c, "123456")
			mustReset(t, c)
		})
		cc := g.speak(m.Proto)
		s := g.established(cc)
		mustWrite(t, s, "12345")
		mustRead(t, s, "123456")
		s.Reset(codec.CodeCancel, nil)
		_ = s.Close()
		if again := cc.CanOpen(); again != m.Shared() {
			t.Errorf("another exchange may begin on the connection: %v", again)
		}
		g.wants("200 DC downstream_remote_disconnect 5 6 origin")
		g.counted(map[string]int64{"downstream_rq_rx_reset": 1, "downstream_rq_tx_reset": 0, "upstream_cx_active": 0})
	})
}

// E10, FB33: the origin's end first: an end of its direction, and no more than
// that.
func TestE10FB33EveryMode(t *testing.T) {
	const upload = 1 << 20
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		t.Run("its direction", func(t *testing.T) {
			g := terminates(t, m, setup{}, func(c *net.TCPConn) {
				mustWrite(t, c, "bye")
				_ = c.CloseWrite()
				if n, err := io.Copy(io.Discard, c); n != upload || err != nil {
					t.Errorf("the origin read %d bytes, %v; want %d", n, err, upload)
				}
			})
			cc := g.speak(m.Proto)
			s := g.established(cc)
			mustRead(t, s, "bye")
			mustEnd(t, s)
			mustWrite(t, s, strings.Repeat("x", upload))
			_ = s.CloseWrite()
			g.wants("200 - via_upstream 1048576 3 origin")
			g.over(cc, s)
		})
		t.Run("its connection", func(t *testing.T) {
			g := terminates(t, m, setup{}, func(c *net.TCPConn) { mustWrite(t, c, "bye") })
			cc := g.speak(m.Proto)
			s := g.established(cc)
			mustRead(t, s, "bye")
			mustEnd(t, s)
			_ = s.CloseWrite()
			g.wants("200 - via_upstream 0 3 origin")
			g.over(cc, s)
			g.counted(map[string]int64{"downstream_rq_rx_reset": 0, "downstream_rq_tx_reset": 0, "upstream_cx_active": 0})
		})
	})
}

// An origin that resets is never a clean end.
func TestOriginResetsEveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		g := terminates(t, m, setup{}, func(c *net.TCPConn) {
			mustWrite(t, c, "last words")
			mustRead(t, c, "ping")
			_ = c.SetLinger(0) // Close sends RST
		})
		s := g.established(g.speak(m.Proto))
		mustRead(t, s, "last words")
		mustWrite(t, s, "ping")
		mustReset(t, s)
		g.wants("200 UC upstream_reset_after_response_started{connection_termination} 4 10 origin")
		g.counted(map[string]int64{"downstream_rq_rx_reset": 0, "downstream_rq_tx_reset": 1})
	})
}

// E11, FB36: an idle tunnel, where a time was set, ends by resets.
func TestE11FB36EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		inTime(t, func(t *testing.T, d time.Duration) bool {
			came := make(chan int, 1)
			g := terminates(t, m, setup{more: "stream_idle_timeout: " + seconds(d)}, func(c *net.TCPConn) {
				n, _ := io.ReadFull(c, make([]byte, len("ping")))
				if came <- n; n > 0 {
					mustReset(t, c)
				}
			})
			s := request(t, g.speak(m.Proto), asks(m))
			if answered(t, s).Status != 200 {
				return false
			}
			_, _ = io.WriteString(s, "ping")
			if received(t, came) == 0 {
				return false
			}
			mustReset(t, s)
			g.wants("200 SI stream_idle_timeout 4 0 origin")
			g.counted(map[string]int64{
				"downstream_rq_idle_timeout": 1, "downstream_rq_tx_reset": 1, "downstream_rq_rx_reset": 0, "upstream_cx_active": 0,
			})
			return true
		})
	})
}

// E12, FB34: a request that ends with its head is a tunnel whose one direction
// has ended. The head of an HTTP/1.1 CONNECT cannot say so: a FIN comes as soon
// as there is a tunnel.
func TestE12FB34EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		g := terminates(t, m, setup{}, func(c *net.TCPConn) {
			mustEnd(t, c)
			mustWrite(t, c, "still")
		})
		cc := g.speak(m.Proto)
		req := asks(m)
		req.EndStream = !m.Raw()
		s := request(t, cc, req)
		if res := answered(t, s); res.Status != 200 || res.EndStream {
			t.Fatalf("%+v, want 200 and an open stream", res)
		}
		if m.Raw() {
			_ = s.CloseWrite()
		}
		mustRead(t, s, "still")
		mustEnd(t, s)
		g.over(cc, s)
		g.wants("200 - via_upstream 0 5 origin")
		g.counted(map[string]int64{"downstream_rq_rx_reset": 0, "downstream_rq_tx_reset": 0})
	})
}

// E18: trailers end the direction, where there can be any.
func TestE18EveryMode(t *testing.T) {
	forSome(t, tunnel.Mode.Trailers, func(t *testing.T, m tunnel.Mode) {
		g := terminates(t, m, setup{}, func(c *net.TCPConn) {
			mustRead(t, c, "ping")
			mustEnd(t, c)
			mustWrite(t, c, "pong")
		})
		s := g.established(g.speak(m.Proto))
		mustWrite(t, s, "ping")
		if err := s.WriteTrailers(codec.Fields{{Name: "t", Value: "1"}}); err != nil {
			t.Fatal(err)
		}
		mustRead(t, s, "pong")
		mustEnd(t, s)
		g.wants("200 - via_upstream 4 4 origin")
	})
}
