package subject

import (
	"fmt"
	"path/filepath"

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
			path, err := s.write("squid.conf", squidConfig, map[string]any{"Port": nearProxyPort, "Dir": s.running.dir})
			if err != nil {
				return Way{}, err
			}
			way := Way{Namespace: s.Here, Address: loopback(nearProxyPort), Connect: origin(world.FromHere)}
			return way, s.run(s.Here, "squid", "squid", "-N", "-f", path)
		}},
		{Name: "haproxy pair, HTTP/2", Group: Tunnel, Missing: missing(c, "haproxy"), start: func(s *scene) (Way, error) {
			return s.proxyPair(func(at, to string, port, toPort int, in, out string) error {
				path, err := s.write(fmt.Sprintf("haproxy-%d.cfg", port), haproxyConfig, map[string]any{
					"At": at, "Port": port, "To": to, "ToPort": toPort, "In": in, "Out": out,
				})
				if err != nil {
					return err
				}
				ns := s.Here
				if port == farProxyPort {
					ns = s.Gateway
				}
				return s.run(ns, "haproxy", "haproxy", "-db", "-f", path)
			})
		}},
		{Name: "nghttpx pair, HTTP/2", Group: Tunnel, Missing: missing(c, "nghttpx"), start: func(s *scene) (Way, error) {
			return s.proxyPair(func(at, to string, port, toPort int, in, out string) error {
				ns := s.Here
				if port == farProxyPort {
					ns = s.Gateway
				}
				backend := fmt.Sprintf("--backend=%s,%d;;no-tls", to, toPort)
				if out != "" {
					backend += ";proto=h2"
				}
				return s.run(ns, "nghttpx", "nghttpx", "--conf=/dev/null", "--single-process", "--workers=2", "--log-level=ERROR", "--errorlog-file="+filepath.Join(s.running.dir, "nghttpx.log"),
					"--accesslog-file=/dev/null", fmt.Sprintf("--frontend=%s,%d;no-tls", at, port), backend)
			})
		}},
	}
}

// proxyPair is two proxies with HTTP/2 in the clear between them, and a gateway
// that takes HTTP/1.1: neither of them opens a CONNECT's connection itself. Each
// is there before who connects to it: one that finds nobody remembers it.
func (s *scene) proxyPair(start func(at, to string, port, toPort int, in, out string) error) (Way, error) {
	way := Way{Namespace: s.Here, Address: loopback(nearProxyPort), Connect: "origin.bench.test:80"}
	if err := s.gateway(mode{}); err != nil {
		return way, err
	}
	if err := s.await(s.Gateway, world.Gateway, gatewayPort); err != nil {
		return way, err
	}
	const h2 = "proto h2"
	if err := start(world.Gateway, world.Gateway, farProxyPort, gatewayPort, h2, ""); err != nil {
		return way, err
	}
	if err := s.await(s.Gateway, world.Gateway, farProxyPort); err != nil {
		return way, err
	}
	return way, start("127.0.0.1", world.Gateway, nearProxyPort, farProxyPort, "", h2)
}

const squidConfig = `
http_port 127.0.0.1:{{.Port}}
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
  bind {{.At}}:{{.Port}} {{.In}}
  default_backend out
backend out
  server far {{.To}}:{{.ToPort}} {{.Out}}
`
