package neighbours

import (
	"strings"
	"testing"
)

const nginxConfig = `
daemon off;
pid DIR/nginx.pid;
error_log stderr;
user root;
worker_processes 1;
events {}
http {
  access_log /dev/stderr;
  client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi; uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
  client_max_body_size 0;
  ssl_certificate DIR/neighbour.pem;
  ssl_certificate_key DIR/neighbour.key;
  proxy_http_version 1.1;
  proxy_request_buffering off;
  proxy_buffering off;
  server {
    listen ` + neighbourAddress + ` LISTEN;
    location / { PASS; }
  }
}
`

// nginx passes POST, not CONNECT. With grpc_pass, which wants no gRPC, both
// directions flow, but a request is over when its response is.
func TestNginx(t *testing.T) {
	const (
		grpc  = "grpc_pass grpc://" + exitAddress
		proxy = "proxy_pass http://" + exitAddress
	)
	for _, c := range []struct {
		name, listen, pass string
		next               hop
		fails, unheld      []string
	}{
		{"H1 POST, grpc_pass", "", grpc, hop{}, []string{originEndsFirst}, []string{originResets}},
		{"H1 TLS POST, grpc_pass", "ssl", grpc, hop{TLS: true}, []string{originEndsFirst}, []string{originResets}},
		{"H2 POST, grpc_pass", "http2", grpc, hop{HTTP2: true}, []string{originEndsFirst}, []string{originResets}},
		// The response's head stays with it until the first byte of its body, mostly:
		// no tunnel for who must speak first.
		{
			"H2 TLS POST, grpc_pass", "ssl http2", grpc, hop{HTTP2: true, TLS: true},
			[]string{byTurns, appEndsFirst}, []string{appCloses, originCloses, originEndsFirst, appResets, originResets},
		},
		// It sleeps, now and then, with something to send.
		{"H1 POST, proxy_pass", "", proxy, hop{}, []string{originEndsFirst}, []string{byTurns, atOnce}},
		// It reads all of the request before it asks.
		{
			"H1 POST, proxy_pass, buffering", "", "proxy_request_buffering on; " + proxy, hop{}, []string{byTurns},
			[]string{atOnce, appCloses, originCloses, appEndsFirst, originEndsFirst, appResets, originResets},
		},
	} {
		between{
			name: c.name, config: strings.NewReplacer("LISTEN", c.listen, "PASS", c.pass).Replace(nginxConfig),
			args:  []string{"nginx", "-e", "stderr", "-c", "CONFIG"},
			entry: entry{Next: toNeighbour(c.next), Post: true}, exit: &exit{Post: true}, fails: c.fails, unheld: c.unheld,
		}.run(t)
	}
}
