// Package transporttest has what tests of TLS need: certificates, the
// configuration that uses them, and connected sockets.
package transporttest

import (
	"net"
	"sync"
	"testing"

	"culvert/proxy/network"
	"culvert/proxy/transport/selfsigned"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Authority makes a certificate authority.
func Authority(t testing.TB) *selfsigned.Authority {
	t.Helper()
	ca, err := selfsigned.NewAuthority("test CA of " + t.Name())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// Issue makes a certificate of ca for names.
func Issue(t testing.TB, ca *selfsigned.Authority, names ...string) *selfsigned.Pair {
	t.Helper()
	pair, err := ca.Issue(names...)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// Inline is content as a DataSource.
func Inline(content []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: content}}
}

// Certificate is a pair in a configuration.
func Certificate(p *selfsigned.Pair) *tlsv3.TlsCertificate {
	return &tlsv3.TlsCertificate{CertificateChain: Inline(p.Certificate), PrivateKey: Inline(p.Key)}
}

// Trust is a validation context that trusts ca, or nothing of its own if that
// is nil.
func Trust(ca *selfsigned.Authority) *tlsv3.CertificateValidationContext {
	if ca == nil {
		return &tlsv3.CertificateValidationContext{}
	}
	return &tlsv3.CertificateValidationContext{TrustedCa: Inline(ca.PEM())}
}

// Server is the configuration of a server that shows pair.
func Server(pair *selfsigned.Pair, alpn ...string) *tlsv3.DownstreamTlsContext {
	return &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
		TlsCertificates: []*tlsv3.TlsCertificate{Certificate(pair)},
		AlpnProtocols:   alpn,
	}}
}

// MutualServer is Server, with a client certificate of clients required.
func MutualServer(pair *selfsigned.Pair, clients *selfsigned.Authority, alpn ...string) *tlsv3.DownstreamTlsContext {
	m := Server(pair, alpn...)
	m.RequireClientCertificate = wrapperspb.Bool(true)
	Validate(m.CommonTlsContext, Trust(clients))
	return m
}

// Client is the configuration of a client that trusts ca and asks for sni.
func Client(ca *selfsigned.Authority, sni string, alpn ...string) *tlsv3.UpstreamTlsContext {
	m := &tlsv3.UpstreamTlsContext{Sni: sni, CommonTlsContext: &tlsv3.CommonTlsContext{AlpnProtocols: alpn}}
	Validate(m.CommonTlsContext, Trust(ca))
	return m
}

// Validate sets the validation context of m.
func Validate(m *tlsv3.CommonTlsContext, v *tlsv3.CertificateValidationContext) {
	m.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: v}
}

// Socket is a TLS context as a transport_socket.
func Socket(t testing.TB, m proto.Message) *corev3.TransportSocket {
	t.Helper()
	packed, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: packed},
	}
}

// Pair is two connected loopback sockets, aborted when the test ends.
func Pair(t testing.TB) (client, server *network.Socket) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var wg sync.WaitGroup
	var dialled net.Conn
	var dialErr error
	wg.Go(func() { dialled, dialErr = new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String()) })
	accepted, err := ln.Accept()
	wg.Wait()
	if err != nil || dialErr != nil {
		t.Fatal(err, dialErr)
	}
	return socket(t, dialled), socket(t, accepted)
}

func socket(t testing.TB, c net.Conn) *network.Socket {
	t.Helper()
	s, err := network.NewSocket(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abort(nil) })
	return s
}
