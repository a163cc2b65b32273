package neighbours

import (
	"strings"
	"testing"
)

const apacheConfig = `
ServerRoot DIR
ServerName neighbour.test
DefaultRuntimeDir DIR
PidFile DIR/apache.pid
ErrorLog /dev/stderr
User www-data
Group www-data
LoadModule mpm_event_module MODULES/mod_mpm_event.so
LoadModule authz_core_module MODULES/mod_authz_core.so
LoadModule proxy_module MODULES/mod_proxy.so
LoadModule proxy_connect_module MODULES/mod_proxy_connect.so
LoadModule proxy_http_module MODULES/mod_proxy_http.so
LoadModule http2_module MODULES/mod_http2.so
LoadModule proxy_http2_module MODULES/mod_proxy_http2.so
LoadModule ssl_module MODULES/mod_ssl.so
Listen ` + neighbourAddress + `
`

const (
	apacheModules = "/usr/lib/apache2/modules"
	apacheTLS     = "SSLEngine on\nSSLCertificateFile DIR/neighbour.pem\nSSLCertificateKeyFile DIR/neighbour.key\n"
)

// apache is the neighbour, with directives besides the common ones.
func apache(b between, directives string) between {
	b.config = strings.ReplaceAll(apacheConfig, "MODULES", apacheModules) + directives
	b.args = []string{"apache2", "-f", "CONFIG", "-DFOREGROUND"}
	return b
}

// Apache's mod_proxy_connect as the gateway of an entry.
func TestApacheAsGateway(t *testing.T) {
	const gateway = "ProxyRequests On\nAllowCONNECT " + originPort + "\n"
	for _, c := range []struct {
		name, directives string
		next             hop
		fails, unheld    []string
	}{
		{"H1 CONNECT", gateway, hop{}, []string{appResets, originResets}, nil},
		{"H1 TLS CONNECT", gateway + apacheTLS, hop{TLS: true}, []string{originEndsFirst, appResets}, []string{originCloses, appEndsFirst, originResets}},
		{
			"H2 TLS CONNECT", gateway + apacheTLS + "Protocols h2\n", hop{HTTP2: true, TLS: true},
			[]string{originCloses, originEndsFirst, appResets, originResets}, nil,
		},
	} {
		apache(between{name: c.name, entry: entry{Next: toNeighbour(c.next)}, fails: c.fails, unheld: c.unheld}, c.directives).run(t)
	}
}

// Apache as a reverse proxy is no way for a POST tunnel: over HTTP/1.1 it wants
// the request first, over HTTP/2 it keeps the response's head until there is body.
func TestApacheAsReverseProxy(t *testing.T) {
	all := []string{atOnce, appCloses, originCloses, appEndsFirst, originEndsFirst, appResets, originResets}
	apache(between{
		name: "H1 POST", entry: entry{Next: toNeighbour(hop{}), Post: true}, exit: &exit{Post: true},
		fails: []string{byTurns}, unheld: all,
	}, "ProxyPass / http://"+exitAddress+"/ flushpackets=on\n").run(t)
	apache(between{
		name: "H2 POST", entry: entry{Next: toNeighbour(hop{HTTP2: true}), Post: true}, exit: &exit{Post: true},
		fails: []string{byTurns}, unheld: all[1:],
	}, "Protocols h2c\nProxyPass / h2c://"+exitAddress+"/ flushpackets=on\n").run(t)
}
