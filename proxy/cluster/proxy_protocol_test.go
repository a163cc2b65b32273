package cluster

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/transport/transporttest"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ppv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// tlvKind is one that applications may use as they like (0xE0 to 0xEF).
const tlvKind = 0xE1

func tlv(value string) []*corev3.TlvEntry {
	return []*corev3.TlvEntry{{Type: tlvKind, Value: []byte(value)}}
}

// announced puts upstream_proxy_protocol of version 2 around the transport of m,
// with a TLV that says of which cluster it is, and with the second endpoint
// having one of its own.
func announced(t *testing.T, m *clusterv3.Cluster) *clusterv3.Cluster {
	m.TransportSocket = transporttest.Socket(t, &ppv3.ProxyProtocolUpstreamTransport{
		Config:          &corev3.ProxyProtocolConfig{Version: corev3.ProxyProtocolConfig_V2, AddedTlvs: tlv("cluster's")},
		TransportSocket: m.GetTransportSocket(),
	})
	m.LoadAssignment.Endpoints[0].LbEndpoints[1].Metadata = hostTLVs(t, tlv("host's"))
	return m
}

func hostTLVs(t *testing.T, list []*corev3.TlvEntry) *corev3.Metadata {
	return &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{
		"envoy.transport_sockets.proxy_protocol": packed(t, &corev3.PerHostConfig{AddedTlvs: list}),
	}}
}

// headerListener takes the PROXY header off each connection before anybody else
// reads from it.
type headerListener struct {
	net.Listener
	told chan proxyHeader
}

type proxyHeader struct {
	source string
	tlvs   map[byte][]string
}

func (l headerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		var h proxyHeader
		if h, err = readV2(c); err == nil {
			l.told <- h
		}
	}
	return c, err
}

// readV2 reads a header of version 2 for TCP over IPv4 as its text says it is
// laid out (§2.2), for the test to depend on nothing that wrote it.
func readV2(r io.Reader) (proxyHeader, error) {
	fixed := make([]byte, 16)
	if _, err := io.ReadFull(r, fixed); err != nil {
		return proxyHeader{}, err
	}
	rest := make([]byte, binary.BigEndian.Uint16(fixed[14:]))
	if _, err := io.ReadFull(r, rest); err != nil {
		return proxyHeader{}, err
	}
	if string(fixed[:14]) != "\r\n\r\n\x00\r\nQUIT\n\x21\x11" || len(rest) < 12 {
		return proxyHeader{}, io.ErrUnexpectedEOF
	}
	h := proxyHeader{source: net.IP(rest[:4]).String(), tlvs: make(map[byte][]string)}
	for b := rest[12:]; len(b) >= 3; {
		n := int(binary.BigEndian.Uint16(b[1:]))
		h.tlvs[b[0]] = append(h.tlvs[b[0]], string(b[3:3+n]))
		b = b[3+n:]
	}
	return h, nil
}

// L07: what an endpoint's metadata adds replaces what the cluster adds, in the
// header of a raw connection as in that of a pooled one, before TLS and without.
func TestL07HostTLVs(t *testing.T) {
	flow := func() *network.StreamInfo {
		i := info()
		i.RemoteAddress, i.LocalAddress = at("192.0.2.7:1000"), at("192.0.2.8:443")
		return i
	}
	raw := func(t *testing.T, c *Cluster) {
		conn, _, err := c.Open(t.Context(), flow())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	request := func(t *testing.T, c *Cluster) {
		s, err := c.OpenStream(t.Context(), get(), flow())
		if err != nil {
			t.Fatal(err)
		}
		if res, err := s.ReadResponse(t.Context()); err != nil || res.Status != 200 {
			t.Errorf("%+v, %v", res, err)
		}
		_ = s.Close()
	}
	for _, tt := range []struct {
		name  string
		h2    bool
		tls   bool
		opens func(*testing.T, *Cluster)
	}{
		{"L07 raw", false, false, raw}, {"L07 HTTP/1.1", false, false, request},
		{"L07 HTTP/1.1 over TLS", false, true, request}, {"L07 HTTP/2 over TLS", true, true, request},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, told := announcedServer(t, tt.tls, tt.h2)
			m := static1(addr, addr)
			if tt.tls {
				m = tlsTo(t, m)
			}
			m = announced(t, m)
			if tt.h2 {
				m = http2(t, m, &corev3.Http2ProtocolOptions{})
			}
			c := start(t, m, nil)
			seen := map[string]int{}
			for range 2 { // an endpoint each
				tt.opens(t, c)
				h := <-told
				if h.source != "192.0.2.7" || len(h.tlvs[tlvKind]) != 1 {
					t.Fatalf("header %+v", h)
				}
				seen[h.tlvs[tlvKind][0]]++
			}
			if seen["cluster's"] != 1 || seen["host's"] != 1 {
				t.Errorf("TLVs %v, want one of each", seen)
			}
		})
	}
}

// announcedServer is a web server behind a PROXY header.
func announcedServer(t *testing.T, tls, h2 bool) (addr string, told <-chan proxyHeader) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	seen := make(chan proxyHeader, 16)
	srv.Listener = headerListener{srv.Listener, seen}
	srv.EnableHTTP2 = h2
	if tls {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), seen
}

// M06: an endpoint's TLVs are looked at when the configuration is.
func TestM06HostTLVErrors(t *testing.T) {
	m := static1("192.0.2.1:1", "192.0.2.2:1")
	m.LoadAssignment.Endpoints[0].LbEndpoints[1].Metadata = hostTLVs(t, []*corev3.TlvEntry{{Type: tlvKind}})
	_, err := New(m, testDeps())
	const at = "load_assignment.endpoints[0].lb_endpoints[1].metadata.typed_filter_metadata.envoy.transport_sockets.proxy_protocol.added_tlvs[0]"
	if all := field.All(err); len(all) != 1 || !strings.HasPrefix(all[0].Path, at) {
		t.Errorf("%v", err)
	}
}
