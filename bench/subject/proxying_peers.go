package subject

import (
	"fmt"
	"path/filepath"

	"culvert/appliance/host"
	"culvert/bench/world"
)

// Ports of the proxies that are measured.
const (
	nearProxyPort = 9020
	farProxyPort  = 9021
)

// Proxying is what else carries connections in HTTP.
func Proxying(c Commands) []Subject {
	return []Subject{
		{Name: "squid", Group: Relay, Missing: missing(c, "squid"), start: func(s *scene) (Way, error) {
			way := Way{Namespace: s.Here, Address: loopback(nearProxyPort), Connect: origin(world.FromHere)}
			return way, s.squid("")
		}},
		{Name: "haproxy pair, HTTP/2", Group: Tunnel, Missing: missing(c, "haproxy"), start: func(s *scene) (Way, error) {
			return s.proxyPair((*scene).haproxy)
		}},
		{Name: "nghttpx pair, HTTP/2", Group: Tunnel, Missing: missing(c, "nghttpx"), start: func(s *scene) (Way, error) {
			return s.proxyPair((*scene).nghttpx)
		}},
	}
}

// hop is where a proxy listens, and what it passes everything on to; in HTTP/1.1
// in the clear, where it does not say HTTP/2.
type hop struct {
	At                 string
	Port               int
	To                 string
	ToPort             int
	FromHTTP2, ToHTTP2 bool
}

// proxy starts one in a namespace.
type proxy func(s *scene, ns *host.Namespace, name string, h hop) error

// proxyPair is two proxies with HTTP/2 in the clear between them, and a gateway
// that takes HTTP/1.1: neither of them opens a CONNECT's connection itself. Each
// is there before who connects to it: one that finds nobody remembers it.
func (s *scene) proxyPair(start proxy) (Way, error) {
	way := Way{Namespace: s.Here, Address: loopback(nearProxyPort), Connect: "origin.bench.test:80"}
	if err := s.gateway(mode{}, world.Gateway); err != nil {
		return way, err
	}
	if err := s.await(s.Gateway, world.Gateway, gatewayPort); err != nil {
		return way, err
	}
	return way, s.twoProxies(start, world.Gateway, gatewayPort)
}

// twoProxies are the second one, which passes on to an address, and the first.
func (s *scene) twoProxies(start proxy, to string, toPort int) error {
	if err := start(s, s.Gateway, "second proxy", hop{At: world.Gateway, Port: farProxyPort, To: to, ToPort: toPort, FromHTTP2: true}); err != nil {
		return err
	}
	if err := s.await(s.Gateway, world.Gateway, farProxyPort); err != nil {
		return err
	}
	return start(s, s.Here, "proxy", hop{At: "127.0.0.1", Port: nearProxyPort, To: world.Gateway, ToPort: farProxyPort, ToHTTP2: true})
}

func (s *scene) haproxy(ns *host.Namespace, name string, h hop) error {
	path, err := s.write(fmt.Sprintf("haproxy-%d.cfg", h.Port), haproxyConfig, h)
	if err != nil {
		return err
	}
	return s.run(ns, name, "haproxy", "-db", "-f", path)
}

func (s *scene) nghttpx(ns *host.Namespace, name string, h hop) error {
	backend := fmt.Sprintf("--backend=%s,%d;;no-tls", h.To, h.ToPort)
	if h.ToHTTP2 {
		backend += ";proto=h2"
	}
	return s.run(ns, name, "nghttpx", "--conf=/dev/null", "--single-process", "--workers=2", "--log-level=ERROR",
		"--errorlog-file="+filepath.Join(s.running.dir, "nghttpx.log"), "--accesslog-file=/dev/null",
		fmt.Sprintf("--frontend=%s,%d;no-tls", h.At, h.Port), backend)
}

// squid is a proxy for whom its clients ask for, or one in front of an origin.
func (s *scene) squid(front string) error {
	path, err := s.write("squid.conf", squidConfig, map[string]any{
		"Port": nearProxyPort, "Dir": s.running.dir, "Front": front, "OriginPort": world.OriginPort,
	})
	if err != nil {
		return err
	}
	return s.run(s.Here, "squid", "squid", "-N", "-f", path)
}

const squidConfig = `
{{- if .Front}}
http_port 127.0.0.1:{{.Port}} accel defaultsite=origin.bench.test
cache_peer {{.Front}} parent {{.OriginPort}} 0 no-query originserver
{{- else}}
http_port 127.0.0.1:{{.Port}}
{{- end}}
http_access allow all
cache deny all
access_log none
cache_log /dev/null
cache_store_log none
pid_filename none
shutdown_lifetime 0 seconds
coredump_dir {{.Dir}}
`

const haproxyConfig = `
global
  nbthread 2
defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
  timeout tunnel 1m
frontend in
  bind {{.At}}:{{.Port}} {{if .FromHTTP2}}proto h2{{end}}
  default_backend out
backend out
  server far {{.To}}:{{.ToPort}} {{if .ToHTTP2}}proto h2{{end}}
`
