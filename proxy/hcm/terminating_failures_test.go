package hcm

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/test/ports"
	"culvert/tunnel"
)

// refused asks for a tunnel and wants a status, a body and the error of
// Proxy-Status instead, and a connection that ends only with HTTP/1.1, where
// nobody knows what the client has sent behind the head (RFC 9931).
func (g *gateway) refused(req *codec.Request, status int, body, token string) {
	g.t.Helper()
	cc := g.speak(g.mode.Proto)
	s := request(g.t, cc, req)
	res := answered(g.t, s)
	if res.Status != status {
		g.t.Errorf("status %d, want %d", res.Status, status)
	}
	if got := res.Header.Get("proxy-status"); !strings.HasPrefix(got, "culvert;error="+token+";") {
		g.t.Errorf("Proxy-Status %q, want %s", got, token)
	}
	if b, err := io.ReadAll(s); string(b) != body || err != nil {
		g.t.Errorf("body %q, %v; want %q", b, err, body)
	}
	_ = s.Close()
	if again := cc.CanOpen(); again != g.mode.Shared() {
		g.t.Errorf("another exchange may begin on the connection: %v", again)
	}
}

// E21: what cannot be reached is a 503 with Envoy's words.
func TestE21EveryMode(t *testing.T) {
	const reason = "remote connection failure, transport failure reason: delayed connect error: Connection refused"
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		g := gatewayTo(t, m, setup{}, ports.Closed(t))
		g.refused(asks(m), 503, resetReason+reason, "connection_refused")
		g.wants("503 UF upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused} 0 167 origin")
		g.counted(map[string]int64{
			"downstream_rq_5xx": 1, "downstream_rq_tx_reset": 0, "downstream_cx_upgrades_active": 0,
			"upstream_cx_connect_fail": 1, "upstream_cx_connect_timeout": 0, "upstream_cx_active": 0,
		})
	})
}

const resetReason = "upstream connect error or disconnect/reset before headers. reset reason: "

// E22: what does not answer a connect in time.
func TestE22EveryMode(t *testing.T) {
	deaf := deafPort(t)
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		g := gatewayTo(t, m, setup{cluster: `"connect_timeout":"0.1s"`}, deaf)
		g.refused(asks(m), 503, resetReason+"connection timeout", "connection_timeout")
		g.wants("503 UF upstream_reset_before_response_started{connection_timeout} 0 91 origin")
		g.counted(map[string]int64{
			"downstream_rq_5xx": 1, "upstream_cx_connect_timeout": 1, "upstream_cx_connect_fail": 1, "upstream_cx_active": 0,
		})
	})
}

// E23: a client that leaves while the connection is being made takes it back.
// Nobody is answered.
func TestE23EveryMode(t *testing.T) {
	deaf := deafPort(t)
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		for name, leave := range map[string]func(network.Conn, codec.ClientStream){
			"by a reset":                func(_ network.Conn, s codec.ClientStream) { s.Reset(codec.CodeCancel, nil) },
			"by closing its connection": func(c network.Conn, _ codec.ClientStream) { _ = c.Close() },
		} {
			t.Run(name, func(t *testing.T) {
				g := gatewayTo(t, m, setup{cluster: `"connect_timeout":"60s"`}, deaf)
				conn := g.dialFor(m.Proto)
				s := request(t, speakOn(t, conn, m.Proto), asks(m))
				g.dials()
				leave(conn, s)
				g.wants("0 DC downstream_remote_disconnect 0 0 origin")
				g.counted(map[string]int64{
					"upstream_cx_total": 1, "upstream_cx_active": 0, "upstream_rq_active": 0,
					"upstream_cx_connect_timeout": 0, "downstream_cx_upgrades_active": 0,
				})
			})
		}
	})
}

// dials waits until the cluster makes a connection.
func (g *gateway) dials() {
	g.t.Helper()
	for deadline := time.Now().Add(soon); ; time.Sleep(time.Millisecond) {
		if n, _ := g.up.Value("cluster.c.upstream_cx_total"); n > 0 {
			return
		}
		if time.Now().After(deadline) {
			g.t.Fatal("the cluster makes no connection")
		}
	}
}

// E13, FB36: the cluster bounds how long a tunnel lives.
func TestE13FB36EveryMode(t *testing.T) {
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		inTime(t, func(t *testing.T, d time.Duration) bool {
			bound := setup{cluster: `"common_http_protocol_options":{"max_stream_duration":"` + seconds(d) + `"}`}
			came := make(chan int, 1)
			g := terminates(t, m, bound, func(c *net.TCPConn) {
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
			g.wants("200 UMSDR upstream_max_stream_duration_reached 4 0 origin")
			g.counted(map[string]int64{"upstream_rq_max_duration_reached": 1, "downstream_rq_tx_reset": 1, "upstream_cx_active": 0})
			return true
		})
	})
}

// E25: the authority is the target, where it is an address; a name is not.
func TestE25EveryMode(t *testing.T) {
	const byAuthority = `"type":"ORIGINAL_DST","lb_policy":"CLUSTER_PROVIDED",
		"original_dst_lb_config":{"use_http_header":true,"http_header_name":":authority"}`
	forModes(t, func(t *testing.T, m tunnel.Mode) {
		t.Run("address", func(t *testing.T) {
			addr := serveTCP(t, "127.0.0.1:0", echo)
			g := gatewayTo(t, m, setup{cluster: byAuthority}, "")
			g.origin = addr
			req := asks(m)
			req.Authority = addr
			s := request(t, g.speak(m.Proto), req)
			if res := answered(t, s); res.Status != 200 {
				t.Fatalf("status %d", res.Status)
			}
			mustWrite(t, s, "ping")
			mustRead(t, s, "ping")
			_ = s.CloseWrite()
			mustEnd(t, s)
			g.wants("200 - via_upstream 4 4 origin")
			g.counted(map[string]int64{"original_dst_host_invalid": 0})
		})
		t.Run("name", func(t *testing.T) {
			g := gatewayTo(t, m, setup{cluster: byAuthority}, "")
			g.refused(asks(m), 503, "no healthy upstream", "destination_unavailable")
			g.wants("503 UH no_healthy_upstream 0 19 -")
			g.counted(map[string]int64{"original_dst_host_invalid": 1, "upstream_cx_none_healthy": 1})
		})
	})
}
