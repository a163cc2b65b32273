package subject

import (
	"culvert/appliance/host"
	"culvert/bench/world"
)

// Requesting is who passes on requests, one proxy from HTTP/1.1 to HTTP/1.1, or
// a pair with HTTP/2 in the clear between them.
func Requesting(c Commands) []Subject {
	front := func(s *scene) Way { return Way{Namespace: s.Here, Address: loopback(nearProxyPort)} }
	one := func(start proxy) func(*scene) (Way, error) {
		return func(s *scene) (Way, error) {
			return front(s), start(s, s.Here, "proxy", hop{At: "127.0.0.1", Port: nearProxyPort, To: world.FromHere, ToPort: world.OriginPort})
		}
	}
	pair := func(start proxy) func(*scene) (Way, error) {
		return func(s *scene) (Way, error) {
			return front(s), s.twoProxies(start, world.FromGateway, world.OriginPort)
		}
	}
	return []Subject{
		{Name: "requests, no proxy", Group: Requests, start: func(s *scene) (Way, error) {
			return Way{Namespace: s.Here, Address: origin(world.FromHere)}, nil
		}},
		{Name: "requests, culvert", Group: Requests, start: one((*scene).requestProxy)},
		{Name: "requests, haproxy", Group: Requests, Missing: missing(c, "haproxy"), start: one((*scene).haproxy)},
		{Name: "requests, nghttpx", Group: Requests, Missing: missing(c, "nghttpx"), start: one((*scene).nghttpx)},
		{Name: "requests, squid", Group: Requests, Missing: missing(c, "squid"), start: func(s *scene) (Way, error) {
			return front(s), s.squid(world.FromHere)
		}},
		{Name: "requests, culvert pair, HTTP/2", Group: Requests, start: pair((*scene).requestProxy)},
		{Name: "requests, haproxy pair, HTTP/2", Group: Requests, Missing: missing(c, "haproxy"), start: pair((*scene).haproxy)},
		{Name: "requests, nghttpx pair, HTTP/2", Group: Requests, Missing: missing(c, "nghttpx"), start: pair((*scene).nghttpx)},
	}
}

// requestProxy is culvert as a proxy of requests.
func (s *scene) requestProxy(ns *host.Namespace, name string, h hop) error {
	path, err := s.write(name+".yaml", requestConfig, h)
	if err != nil {
		return err
	}
	return s.start(ns, name, path)
}

const requestConfig = `
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: {{.At}}, port_value: {{.Port}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{match: {prefix: "/"}, route: {cluster: far, timeout: 0s}}]
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: far
    load_assignment:
      cluster_name: far
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: {{.To}}, port_value: {{.ToPort}}}}}}]}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{if .ToHTTP2}}{http2_protocol_options: {}}{{else}}{http_protocol_options: {}}{{end}}
`
