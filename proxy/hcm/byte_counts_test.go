package hcm

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/format"
	"culvert/proxy/network"
	"culvert/tunnel"
)

// byteCounts are the operators of one side's bytes, in one record.
func byteCounts(t *testing.T, side string, info *network.StreamInfo) string {
	t.Helper()
	f, err := format.Compile(strings.ReplaceAll(
		"%S_WIRE_BYTES_SENT% %S_WIRE_BYTES_RECEIVED% %S_HEADER_BYTES_SENT% %S_HEADER_BYTES_RECEIVED%", "%S", "%"+side))
	if err != nil {
		t.Fatal(err)
	}
	return f.String(&format.Context{Info: info})
}

// lastExchange is the one exchange, once it has ended.
func (w *wire) lastExchange() *network.StreamInfo {
	w.t.Helper()
	for deadline := time.Now().Add(soon); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, info := range w.flows.Ended() {
			if info.Kind == network.KindExchange {
				return info
			}
		}
	}
	w.t.Fatal("no exchange has ended")
	return nil
}

// recorded is c that says, as a cluster does, where it connected to.
func recorded(c fakeCluster) fakeCluster {
	open := c.open
	c.open = func(ctx context.Context, info *network.StreamInfo) (network.Conn, network.Handler, error) {
		conn, h, err := open(ctx, info)
		if err == nil {
			info.SetUpstream(&network.UpstreamInfo{RemoteAddress: network.AddressOf(conn.RemoteAddr())})
		}
		return conn, h, err
	}
	return c
}

// E01, E08: what went to and came from the origin is the payload and nothing
// else, however the tunnel ended; what the client's side cost has its heads too.
func TestE01E08ByteCounts(t *testing.T) {
	for name, end := range map[string]struct {
		sent, received string
		abort          bool
	}{
		"E01 both sides end":    {"123456789", "abcdefghi", false},
		"E08 the client resets": {"12345", "abcdef", true},
	} {
		forModes(t, func(t *testing.T, m tunnel.Mode) {
			t.Run(name, func(t *testing.T) {
				w := serve(t, with(terminateRoute+","+postRoute, ""), recorded(tcpOrigin(t, func(c *net.TCPConn) {
					mustRead(t, c, end.sent)
					_, _ = io.WriteString(c, end.received)
					_, _ = io.Copy(io.Discard, c)
				})), m.Secure)
				s := w.tunnelOf(m)
				mustWrite(t, s, end.sent)
				mustRead(t, s, end.received)
				if !end.abort {
					_ = s.CloseWrite()
					mustEnd(t, s)
				}
				_ = s.Close()
				info := w.lastExchange()
				want := map[bool]string{false: "9 9 0 0", true: "5 6 0 0"}[end.abort]
				if got := byteCounts(t, "UPSTREAM", info); got != want {
					t.Errorf("upstream: %s, want %s", got, want)
				}
				b := info.DownstreamBytes()
				payload := network.WireBytes{Sent: b.Sent - b.HeaderSent, Received: b.Received - b.HeaderReceived}
				if b.HeaderSent == 0 || b.HeaderReceived == 0 ||
					payload.Sent < uint64(len(end.received)) || payload.Received < uint64(len(end.sent)) {
					t.Errorf("downstream: %+v", b)
				}
				if exact := uint64(len(end.received)); m.Raw() && payload.Sent != exact {
					t.Errorf("downstream: %+v, want %d bytes of payload sent", b, exact)
				}
			})
		})
	}
}

// E16, E17: the PROXY header is of the head bytes sent upstream.
func TestE16E17ProxyHeaderCounts(t *testing.T) {
	for _, version := range []string{"V1", "V2"} {
		forModes(t, func(t *testing.T, m tunnel.Mode) {
			t.Run(version, func(t *testing.T) {
				got := make(chan int, 1)
				proxied := func(route string) string {
					return strings.NewReplacer("connect_config: {}", "connect_config: {proxy_protocol_config: {version: "+version+"}}",
						"allow_post: true", "allow_post: true, proxy_protocol_config: {version: "+version+"}").Replace(route)
				}
				w := serve(t, with(proxied(terminateRoute)+","+proxied(postRoute), ""), recorded(tcpOrigin(t, func(c *net.TCPConn) {
					b, _ := io.ReadAll(c)
					got <- len(b)
				})), m.Secure)
				s := w.tunnelOf(m)
				mustWrite(t, s, "12345")
				_ = s.CloseWrite()
				header := <-got - len("12345")
				mustEnd(t, s)
				_ = s.Close()
				b := w.lastExchange().UpstreamBytes()
				if want := (network.WireBytes{Sent: uint64(header) + 5, HeaderSent: uint64(header)}); header == 0 || b != want {
					t.Errorf("%+v, want %+v", b, want)
				}
			})
		})
	}
}

// A request that is forwarded costs its own frames on both sides.
func TestForwardedByteCounts(t *testing.T) {
	forPairs(t, func(t *testing.T, p pair) {
		c := httpOrigin(t, p.up, func(s codec.ServerStream) {
			_ = s.WriteResponse(&codec.Response{Status: 200})
			_, _ = io.Copy(s, s)
			_ = s.CloseWrite()
		})
		w := serve(t, with(plainRoute, ""), c, false)
		s := request(t, w.speak(p.down), post("/"))
		mustWrite(t, s, "12345")
		_ = s.CloseWrite()
		answered(t, s)
		mustRead(t, s, "12345")
		mustEnd(t, s)
		_ = s.Close()
		down, up := w.lastExchange().DownstreamBytes(), w.lastExchange().UpstreamBytes()
		for side, b := range map[string]network.WireBytes{"downstream": down, "upstream": up} {
			if b.HeaderSent == 0 || b.HeaderReceived == 0 || b.Sent < b.HeaderSent+5 || b.Received < b.HeaderReceived+5 {
				t.Errorf("%s: %+v", side, b)
			}
		}
	})
}
