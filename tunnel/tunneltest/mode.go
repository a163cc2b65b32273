package tunneltest

import (
	"crypto/tls"
	"net"
	"testing"

	"culvert/proxy/codec"
	"culvert/test/peer"
	"culvert/test/ports"
	"culvert/tunnel"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// gatewayName is who the gateway's certificate is for.
const gatewayName = "gw.example"

// ForEachMode runs body once for each mode, as a subtest of its name.
func ForEachMode(t *testing.T, body func(t *testing.T, m tunnel.Mode)) {
	ForModes(t, func(tunnel.Mode) bool { return true }, body)
}

// ForModes is ForEachMode for the modes of which a behaviour can be asked.
func ForModes(t *testing.T, which func(tunnel.Mode) bool, body func(t *testing.T, m tunnel.Mode)) {
	t.Helper()
	n := 0
	for _, m := range tunnel.Modes() {
		if which(m) {
			n++
			t.Run(m.String(), func(t *testing.T) { body(t, m) })
		}
	}
	if n == 0 {
		t.Fatal("no mode is meant")
	}
}

// Gateway is the far end of tunnels of one mode.
type Gateway struct {
	*peer.Gateway
	Mode tunnel.Mode
	// CA has issued its certificate; nil without TLS.
	CA *peer.CA
}

// NewGateway runs a scripted gateway on the loopback until the test ends.
func NewGateway(t testing.TB, m tunnel.Mode, s peer.Script) *Gateway {
	t.Helper()
	g := &Gateway{Mode: m}
	var conf *tls.Config
	if m.Secure {
		g.CA = peer.NewCA(t)
		conf = &tls.Config{Certificates: []tls.Certificate{g.CA.Issue(gatewayName)}, NextProtos: []string{alpn(m)}}
	}
	g.serve(t, conf, s)
	return g
}

// NewTLSGateway is NewGateway with a TLS configuration of the test's own, whose
// certificate is issued here.
func NewTLSGateway(t testing.TB, m tunnel.Mode, conf *tls.Config, s peer.Script) *Gateway {
	t.Helper()
	g := &Gateway{Mode: m, CA: peer.NewCA(t)}
	conf = conf.Clone()
	conf.Certificates = []tls.Certificate{g.CA.Issue(gatewayName)}
	conf.NextProtos = []string{alpn(m)}
	g.serve(t, conf, s)
	return g
}

func (g *Gateway) serve(t testing.TB, conf *tls.Config, s peer.Script) {
	ln, err := net.Listen("tcp", ports.Closed(t)) // one that stays closed behind Close
	if err != nil {
		t.Fatal(err)
	}
	if g.Mode.Proto == codec.HTTP11 {
		g.Gateway = peer.NewHTTP1Gateway(t, ln, conf, s)
	} else {
		g.Gateway = peer.NewGateway(t, ln, conf, s)
	}
}

// alpn is the protocol's name in TLS (RFC 7301).
func alpn(m tunnel.Mode) string {
	if m.Proto == codec.HTTP11 {
		return "http/1.1"
	}
	return "h2"
}

// Trust is a context that verifies the gateway; nil without TLS.
func (g *Gateway) Trust() *tlsv3.UpstreamTlsContext {
	if g.CA == nil {
		return nil
	}
	return &tlsv3.UpstreamTlsContext{Sni: gatewayName, CommonTlsContext: &tlsv3.CommonTlsContext{
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa: &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: g.CA.PEM}},
		}},
	}}
}
