package datasource

import (
	"slices"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

func TestPaths(t *testing.T) {
	file := func(name string) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: name}}
	}
	m := &tlsv3.CommonTlsContext{
		TlsCertificates: []*tlsv3.TlsCertificate{
			{CertificateChain: file("/b.crt"), PrivateKey: file("/b.key")},
			{CertificateChain: file("/dir/c.crt"), PrivateKey: file("/dir/c.key"), WatchedDirectory: &corev3.WatchedDirectory{Path: "/dir"}},
			{CertificateChain: file("/b.crt"), PrivateKey: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: "x"}}},
		},
		ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa: file("/a.ca"), Crl: file("/z.crl"),
		}},
	}
	want := []string{"/a.ca", "/b.crt", "/b.key", "/dir", "/z.crl"}
	if got := Paths(m); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Paths(&tlsv3.CommonTlsContext{}); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
