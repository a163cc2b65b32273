package e2e

import (
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"culvert/test/peer"
	"culvert/test/program"
)

// saysNothing is how long TestGatewayRefuses listens to silence: the SYN is sent
// again after one second and after three.
const saysNothing = 3500 * time.Millisecond

// What a gateway answers instead of a tunnel is what connect() comes to.
func TestGatewayRefuses(t *testing.T) {
	t.Parallel()
	prohibited := [2]peer.Outcome{peer.HostUnreachable, peer.Denied} // the kernels' words for IPv4 and IPv6
	both := func(o peer.Outcome) [2]peer.Outcome { return [2]peer.Outcome{o, o} }
	status := func(token string) string { return "gateway.test; error=" + token }
	cases := []struct {
		name   string
		script peer.Script
		want   [2]peer.Outcome // IPv4, IPv6
	}{
		{"200", peer.Answer(200), both(peer.Connected)},

		{"403", peer.Answer(403), prohibited},
		{"404", peer.Answer(404), both(peer.NetUnreachable)},
		{"407", peer.Answer(407, "proxy-authenticate", "Basic"), both(peer.NetUnreachable)},
		{"500", peer.Answer(500), both(peer.NetUnreachable)},
		{"502", peer.Answer(502), both(peer.Refused)},
		{"503", peer.Answer(503), both(peer.Refused)},
		{"504", peer.Answer(504), both(peer.NothingWithinLimit)},

		{"503 connection_refused", peer.Answer(503, "proxy-status", status("connection_refused")), both(peer.Refused)},
		{"502 destination_ip_unroutable", peer.Answer(502, "proxy-status", status("destination_ip_unroutable")), both(peer.HostUnreachable)},
		{"503 destination_unavailable", peer.Answer(503, "proxy-status", status("destination_unavailable")), both(peer.HostUnreachable)},
		{"502 dns_error", peer.Answer(502, "proxy-status", status("dns_error")), both(peer.HostUnreachable)},
		{"502 destination_ip_prohibited", peer.Answer(502, "proxy-status", status("destination_ip_prohibited")), prohibited},
		{"503 http_request_denied", peer.Answer(503, "proxy-status", status("http_request_denied")), prohibited},
		{"502 connection_timeout", peer.Answer(502, "proxy-status", status("connection_timeout")), both(peer.NothingWithinLimit)},
		{"504 connection_refused", peer.Answer(504, "proxy-status", status("connection_refused")), both(peer.Refused)},
		{"502 a token nobody knows", peer.Answer(502, "proxy-status", status("on_holiday")), both(peer.Refused)},
		{"502 no structured field", peer.Answer(502, "proxy-status", "((("), both(peer.Refused)},

		{"never answers", peer.NeverAnswer(), both(peer.NothingWithinLimit)},
		{"stream reset", peer.ResetStream(2), both(peer.NetUnreachable)}, // INTERNAL_ERROR
	}
	w := newWorld(t)
	asked := newTally()
	conf := &tls.Config{Certificates: []tls.Certificate{w.ca.Issue(gatewayName)}, NextProtos: []string{"h2"}}
	peer.NewGateway(t, w.gateway.Listen("tcp", net.JoinHostPort(gatewayAddress, gatewayPort)), conf, func(r *peer.Request) {
		target := r.Get(":authority")
		asked.add(target)
		_, port, _ := net.SplitHostPort(target)
		n, _ := strconv.Atoi(port) // 0 if it is none, and then nothing is answered
		if n--; n >= 0 && n < len(cases) {
			cases[n].script(r)
		}
	})
	w.startCapture()
	for i, c := range cases {
		for f, host := range []string{origin4, origin6} {
			target := net.JoinHostPort(host, strconv.Itoa(1+i))
			t.Run(c.name+" for "+host, func(t *testing.T) {
				t.Parallel()
				limit, want := soon, c.want[f]
				if want == peer.NothingWithinLimit {
					limit = saysNothing
				}
				r := peer.Connect(t.Context(), w.app, "tcp", target, limit)
				r.Close()
				if r.Outcome != want {
					t.Errorf("%v, want %s", r, want)
				}
				program.Eventually(t, soon, "the gateway is asked", func() error {
					if asked.of(target) == 0 {
						return errors.New("it is not")
					}
					return nil
				})
				if n := asked.of(target); n != 1 {
					t.Errorf("the gateway was asked %d times for one connect", n)
				}
			})
		}
	}
}

// A gateway that cannot be believed is not used, whatever it would say.
func TestGatewayNotTrusted(t *testing.T) {
	t.Parallel()
	for name, conf := range map[string]func(*world) *tls.Config{
		"another's certificate": func(w *world) *tls.Config {
			return &tls.Config{Certificates: []tls.Certificate{w.ca.Issue("other.test")}, NextProtos: []string{"h2"}}
		},
		"another CA": func(w *world) *tls.Config {
			return &tls.Config{Certificates: []tls.Certificate{peer.NewCA(w.t).Issue(gatewayName)}, NextProtos: []string{"h2"}}
		},
		"no HTTP/2": func(w *world) *tls.Config {
			return &tls.Config{Certificates: []tls.Certificate{w.ca.Issue(gatewayName)}, NextProtos: []string{"http/1.1"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			asked := newTally()
			peer.NewGateway(t, w.gateway.Listen("tcp", net.JoinHostPort(gatewayAddress, gatewayPort)), conf(w), func(r *peer.Request) {
				asked.add("")
				peer.Answer(200)(r)
			})
			w.startCapture()
			r := peer.Connect(t.Context(), w.app, "tcp", net.JoinHostPort(origin4, "80"), soon)
			r.Close()
			if r.Outcome != peer.NetUnreachable || asked.of("") != 0 {
				t.Errorf("%v, and %d requests", r, asked.of(""))
			}
		})
	}
}

// tally counts by name.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func newTally() *tally { return &tally{n: map[string]int{}} }

func (c *tally) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[name]++
}

func (c *tally) of(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[name]
}
