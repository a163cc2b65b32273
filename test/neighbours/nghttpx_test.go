package neighbours

import "testing"

// nghttpx forwards CONNECT and POST, and knows no half-close of a CONNECT.
func TestNghttpx(t *testing.T) {
	const forward = "--http2-proxy"
	noEnds := []string{appCloses, appEndsFirst, originEndsFirst, originResets}
	for _, c := range []struct {
		name          string
		args          []string
		next          hop
		post          bool
		exit          exit
		fails, unheld []string
	}{
		{
			"H2 TLS CONNECT to H1", []string{forward, "-b" + streetAddress + "," + exitPort},
			hop{HTTP2: true, TLS: true}, false, exit{}, noEnds, []string{appResets},
		},
		{
			"H2 TLS CONNECT to H2", []string{forward, "-b" + streetAddress + "," + exitPort + ";;proto=h2"},
			hop{HTTP2: true, TLS: true}, false, exit{}, noEnds, nil,
		},
		{
			"H2 TLS CONNECT to H2 TLS",
			[]string{forward, "--cacert=DIR/ca.pem", "-b" + streetAddress + "," + exitPort + ";;proto=h2;tls;sni=exit.test"},
			hop{HTTP2: true, TLS: true}, false, exit{TLS: true}, noEnds, nil,
		},
		{
			"H2 TLS POST to H2", []string{"-b" + streetAddress + "," + exitPort + ";;proto=h2"},
			hop{HTTP2: true, TLS: true}, true, exit{Post: true}, []string{originEndsFirst}, []string{originResets},
		},
		// The head of a second request on a connection of its to the exit stays
		// with it until there is body: that tunnel hangs.
		{
			"H2 TLS POST to H1", []string{"-b" + streetAddress + "," + exitPort},
			hop{HTTP2: true, TLS: true}, true, exit{Post: true}, nil,
			[]string{atOnce, appCloses, originCloses, appEndsFirst, originEndsFirst, appResets, originResets},
		},
	} {
		args := append([]string{
			"nghttpx", "--conf=/dev/null", "--workers=1", "--errorlog-file=/dev/stderr", "--accesslog-file=/dev/stderr",
			"-f" + streetAddress + "," + neighbourPort,
		}, c.args...)
		between{
			name: c.name, args: append(args, "DIR/neighbour.key", "DIR/neighbour.pem"),
			entry: entry{Next: toNeighbour(c.next), Post: c.post}, exit: &c.exit, fails: c.fails, unheld: c.unheld,
		}.run(t)
	}
}
