package neighbours

import (
	"strings"
	"testing"
)

const haproxyConfig = `
global
  log stdout format raw local0
defaults
  log global
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend f
  bind ` + neighbourAddress + ` BIND
  mode MODE
  option MODElog
  default_backend b
backend b
  mode MODE
  server exit ` + exitAddress + ` SERVER
`

// HAProxy carries everything but some ends: a reset by the origin is an end to
// the app. In HTTP mode it knows CONNECT, whatever the version on either side.
// Where it speaks HTTP/2 to both, two full directions may come to a stop: it reads
// no more on either side, and the window updates that it waits for are behind what
// it does not read. A POST whose response is over it may cut.
func TestHAProxy(t *testing.T) {
	resets := []string{appResets, originResets}
	for _, c := range []struct {
		name, mode, bind, server string
		entry                    entry
		exit                     exit
		fails, unheld            []string
	}{
		{
			"TCP mode, H2 TLS CONNECT", "tcp", "", "",
			entry{Next: hop{Port: neighbourPort, Name: "exit.test", HTTP2: true, TLS: true}}, exit{TLS: true}, nil, nil,
		},
		{
			"TCP mode, H1 TLS CONNECT", "tcp", "", "",
			entry{Next: hop{Port: neighbourPort, Name: "exit.test", TLS: true}}, exit{TLS: true}, nil, nil,
		},
		{"TCP mode, H1 CONNECT", "tcp", "", "", entry{Next: toNeighbour(hop{})}, exit{}, []string{originResets}, nil},
		{"H1 CONNECT", "http", "", "", entry{Next: toNeighbour(hop{})}, exit{}, []string{originResets}, nil},
		{"H2 CONNECT", "http", "proto h2", "proto h2", entry{Next: toNeighbour(hop{HTTP2: true})}, exit{}, resets, []string{atOnce}},
		{
			"H2 TLS CONNECT", "http",
			"ssl crt DIR/neighbour.both alpn h2", "ssl verify required sni str(exit.test) verifyhost exit.test ca-file DIR/ca.pem alpn h2",
			entry{Next: toNeighbour(hop{HTTP2: true, TLS: true})}, exit{TLS: true}, resets, []string{atOnce},
		},
		{"H2 CONNECT to H1", "http", "proto h2", "", entry{Next: toNeighbour(hop{HTTP2: true})}, exit{}, []string{originResets}, nil},
		{"H1 POST", "http", "", "", entry{Next: toNeighbour(hop{}), Post: true}, exit{Post: true}, nil, []string{originEndsFirst}},
		{
			"H2 POST", "http", "proto h2", "proto h2",
			entry{Next: toNeighbour(hop{HTTP2: true}), Post: true}, exit{Post: true}, resets, []string{atOnce, originEndsFirst},
		},
	} {
		between{
			name: c.name, config: haproxy(c.mode, c.bind, c.server), args: []string{"haproxy", "-db", "-f", "CONFIG"},
			entry: c.entry, exit: &c.exit, fails: c.fails, unheld: c.unheld,
		}.run(t)
	}
}

func haproxy(mode, bind, server string) string {
	return strings.NewReplacer("MODE", mode, "BIND", bind, "SERVER", server).Replace(haproxyConfig)
}

// The PROXY protocol in both versions, to and from culvert: what the exit logs as
// its client is the app, which only the header can have told it.
func TestHAProxyAndPROXYProtocol(t *testing.T) {
	for _, c := range []struct{ name, bind, server, sends string }{
		{"v1 to a listener", "", "send-proxy", ""},
		{"v2 to a listener", "", "send-proxy-v2", ""},
		{"v1 from a cluster", "accept-proxy", "send-proxy", "V1"},
		{"v2 from a cluster", "accept-proxy", "send-proxy-v2", "V2"},
	} {
		s := between{
			name: c.name, config: haproxy("tcp", c.bind, c.server+" source 10.2.0.1"), args: []string{"haproxy", "-db", "-f", "CONFIG"},
			entry: entry{Next: toNeighbour(hop{ProxyProtocol: c.sends})}, exit: &exit{ProxyProtocol: true}, fails: []string{originResets},
		}
		client := streetAddress // the entry's own, where nobody told haproxy of the app
		if c.sends != "" {
			client = appAddress
		}
		s.logged = "from " + client + ","
		s.run(t)
	}
}
