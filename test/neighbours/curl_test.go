package neighbours

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"culvert/test/need"
	"culvert/test/peer"
)

// curl runs curl on the app, with a proxy. It returns what curl prints and what
// it says with --verbose.
func (s *street) curl(t *testing.T, args ...string) (out, said string, err error) {
	t.Helper()
	common := []string{"--silent", "--show-error", "--verbose", "--disable", "--noproxy", "", "--max-time", "30", "--cacert", s.file("ca.pem")}
	cmd := s.app.Command(need.Command(t, "curl"), append(common, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

// transfer has curl PUT one stream and receive another, by way of a proxy.
func (s *street) transfer(t *testing.T, w *web, args ...string) {
	t.Helper()
	in, err := os.Create(s.file("up"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(in, w.up.Reader()); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	_, said, err := s.curl(t, append(args, "--fail", "--upload-file", in.Name(), "--output", s.file("down"), "https://"+originAddress+"/up")...)
	if err != nil {
		t.Fatalf("curl: %v\n%s", err, said)
	}
	if err := <-w.uploaded; err != nil {
		t.Errorf("origin: %v", err)
	}
	if got := sha256.Sum256([]byte(s.read("down"))); got != w.down.Sum() {
		t.Errorf("curl received %d bytes, SHA-256 %x", len(s.read("down")), got)
	}
}

func bigWeb(s *street) *web {
	w := &web{up: peer.Stream{Seed: 1, Size: mebibytes16}, down: peer.Stream{Seed: 2, Size: mebibytes16}}
	w.start(s)
	return w
}

// culvert is curl's proxy.
func TestCurl(t *testing.T) {
	type proxy struct {
		name   string
		exit   exit
		args   []string
		logged string
	}
	proxies := []proxy{
		{"H1", exit{}, []string{"--proxy", "http://" + exitAddress}, "HTTP/1.1 CONNECT"},
		{"H1 TLS", exit{TLS: true}, []string{"--proxy", "https://" + exitAddress}, "HTTP/1.1 CONNECT"},
	}
	if out, err := exec.Command(need.Command(t, "curl"), "--help", "all").Output(); err != nil || !strings.Contains(string(out), "--proxy-http2") {
		t.Logf("this curl speaks no HTTP/2 to a proxy, which came with 8.1.0 (%v)", err)
	} else {
		proxies = append(proxies, proxy{"H2 TLS", exit{TLS: true}, []string{"--proxy-http2", "--proxy", "https://" + exitAddress}, "HTTP/2 CONNECT"})
	}
	for _, c := range proxies {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStreet(t)
			w := bigWeb(s)
			s.startExit(c.exit)
			s.transfer(t, w, append(c.args, "--proxy-cacert", s.file("ca.pem"))...)
			if log, want := s.records(1), c.logged+" "+originAddress+":"+webPort+" 200 "; len(log) != 1 || !strings.HasPrefix(log[0], want) {
				t.Errorf("the access log has %q, want %q", log, want)
			}
		})
	}
}

// A proxy that demands certificates serves whom it knows.
func TestCurlWithCertificate(t *testing.T) {
	s := newStreet(t)
	w := bigWeb(s)
	s.startExit(exit{TLS: true, ClientCerts: true})
	cert, key := peer.NewCA(t).IssuePEM("client.test")
	s.write("stranger.pem", cert)
	s.write("stranger.key", key)
	proxy := []string{"--proxy", "https://" + exitAddress, "--proxy-cacert", s.file("ca.pem")}
	as := func(name string) []string {
		return append(proxy[:len(proxy):len(proxy)], "--proxy-cert", s.file(name+".pem"), "--proxy-key", s.file(name+".key"))
	}
	t.Run("one of its CA", func(t *testing.T) { s.transfer(t, w, as("client")...) })
	for name, args := range map[string][]string{"none": proxy, "one of another CA": as("stranger")} {
		t.Run(name, func(t *testing.T) {
			_, said, err := s.curl(t, append(args, "https://"+originAddress+"/")...)
			if err == nil || !strings.Contains(said, "alert") {
				t.Errorf("curl: %v, without a TLS alert:\n%s", err, said)
			}
		})
	}
	if log := s.records(1); len(log) != 1 {
		t.Errorf("requests in the access log, besides that of the known client: %q", log)
	}
}

// A CONNECT that culvert passes on is refused or allowed by squid: 407 with its
// challenge reaches curl, and curl's answer reaches squid.
func TestCurlIsAskedForAPassword(t *testing.T) {
	s := newStreet(t)
	w := bigWeb(s)
	b := squid(between{}, `
auth_param basic program /usr/lib/squid/basic_ncsa_auth DIR/users
auth_param basic children 1
auth_param basic realm the street
acl user proxy_auth REQUIRED
http_access allow CONNECT user
http_access deny all
`)
	if err := os.WriteFile(s.file("users"), []byte(squidUsers), 0o644); err != nil { // squid reads it as another user
		t.Fatal(err)
	}
	s.neighbour(b.config, b.logs, append([]string{need.Command(t, "squid")}, b.args[1:]...)...)
	next := toNeighbour(hop{})
	s.startExit(exit{Next: &next})
	proxy := []string{"--proxy", "http://" + exitAddress}
	for name, args := range map[string][]string{"no password": nil, "a wrong one": {"--proxy-user", "alice:guess"}} {
		t.Run(name, func(t *testing.T) {
			out, said, err := s.curl(t, append(append(proxy, args...), "--write-out", "%{http_connect}", "https://"+originAddress+"/")...)
			if err == nil || out != "407" || !strings.Contains(strings.ToLower(said), `< proxy-authenticate: basic realm="the street"`) {
				t.Errorf("curl: %v, %q, want 407 and the challenge:\n%s", err, out, said)
			}
		})
	}
	for name, args := range map[string][]string{
		"the right one":        {"--proxy-user", "alice:secret"},
		"the right one, asked": {"--proxy-user", "alice:secret", "--proxy-anyauth"},
	} {
		t.Run(name, func(t *testing.T) { s.transfer(t, w, append(proxy, args...)...) })
	}
}
