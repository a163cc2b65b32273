package admin

import (
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"strings"
	"testing"

	"culvert/proxy/cluster"
	"culvert/proxy/network"
	"culvert/proxy/transport"
	"culvert/proxy/transport/selfsigned"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

func clusterRig() *rig {
	return newRig(func(d *Deps) {
		d.Clusters = func() []cluster.Status {
			return []cluster.Status{{
				Name: "edge", ObservabilityName: "alt", MaxConnections: 1, MaxPendingRequests: 2, MaxRequests: 3, MaxRetries: 4,
				Hosts: []cluster.HostStatus{{
					Address: network.IPAddress(netip.MustParseAddrPort("192.0.2.1:443")), HostName: "a\nb", Health: "healthy",
					Weight: 5, Priority: 1, Locality: &corev3.Locality{Region: "r", Zone: "z"},
					CxActive: 6, CxConnectFail: 7, CxTotal: 8, RqActive: 9, RqError: 10, RqSuccess: 11, RqTimeout: 12, RqTotal: 13,
				}, {Address: network.InternalAddress("inner", "x"), Health: "/failed_eds_health"}},
			}, {Name: "empty", ObservabilityName: "empty"}}
		}
	})
}

const clustersText = `edge::observability_name::alt
edge::default_priority::max_connections::1
edge::default_priority::max_pending_requests::2
edge::default_priority::max_requests::3
edge::default_priority::max_retries::4
edge::added_via_api::false
edge::192.0.2.1:443::cx_active::6
edge::192.0.2.1:443::cx_connect_fail::7
edge::192.0.2.1:443::cx_total::8
edge::192.0.2.1:443::rq_active::9
edge::192.0.2.1:443::rq_error::10
edge::192.0.2.1:443::rq_success::11
edge::192.0.2.1:443::rq_timeout::12
edge::192.0.2.1:443::rq_total::13
edge::192.0.2.1:443::hostname::a?b
edge::192.0.2.1:443::health_flags::healthy
edge::192.0.2.1:443::weight::5
edge::192.0.2.1:443::region::r
edge::192.0.2.1:443::zone::z
edge::192.0.2.1:443::sub_zone::
edge::192.0.2.1:443::canary::false
edge::192.0.2.1:443::priority::1
edge::192.0.2.1:443::success_rate::-1
edge::192.0.2.1:443::local_origin_success_rate::-1
edge::envoy://inner/x::cx_active::0
`

func TestClusters(t *testing.T) {
	r := clusterRig()
	w := r.get("/clusters")
	if !strings.HasPrefix(w.Body.String(), clustersText) || !strings.Contains(w.Body.String(), "envoy://inner/x::health_flags::/failed_eds_health\n") ||
		!strings.HasSuffix(w.Body.String(), "empty::added_via_api::false\n") {
		t.Errorf("%s\nwant it to begin with\n%s", w.Body, clustersText)
	}
	w = r.get("/clusters?format=json")
	var got adminv3.Clusters
	if err := protojson.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	edge := got.GetClusterStatuses()[0]
	host, inner := edge.GetHostStatuses()[0], edge.GetHostStatuses()[1]
	if len(got.GetClusterStatuses()) != 2 || edge.GetName() != "edge" || edge.GetCircuitBreakers().GetThresholds()[0].GetMaxRetries().GetValue() != 4 ||
		host.GetAddress().GetSocketAddress().GetPortValue() != 443 || host.GetStats()[7].GetValue() != 13 || host.GetStats()[0].GetType() != adminv3.SimpleMetric_GAUGE ||
		host.GetHealthStatus().GetEdsHealthStatus() != corev3.HealthStatus_HEALTHY || host.GetLocality().GetZone() != "z" ||
		inner.GetAddress().GetEnvoyInternalAddress().GetEndpointId() != "x" || inner.GetHealthStatus().GetEdsHealthStatus() != corev3.HealthStatus_UNHEALTHY {
		t.Errorf("%s", w.Body)
	}
}

func TestCerts(t *testing.T) {
	ca, err := selfsigned.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue("gateway.test")
	if err != nil {
		t.Fatal(err)
	}
	leaf, authority := parse(t, pair.Certificate), parse(t, ca.PEM())
	r := newRig(func(d *Deps) {
		d.Certificates = func() []transport.Certificate {
			shown := transport.Certificate{Place: "/gateway.pem", Certificate: leaf}
			return []transport.Certificate{shown, shown, {Place: "<inline>", Authority: true, Certificate: authority}}
		}
	})
	var got adminv3.Certificates
	w := r.get("/certs")
	if err := protojson.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.GetCertificates()) != 2 {
		t.Fatalf("%s, %v", w.Body, err)
	}
	chain, trusted := got.GetCertificates()[0].GetCertChain()[0], got.GetCertificates()[1].GetCaCert()[0]
	if chain.GetPath() != "/gateway.pem" || chain.GetSubjectAltNames()[0].GetDns() != "gateway.test" || chain.GetDaysUntilExpiration() < 80 ||
		!chain.GetExpirationTime().AsTime().Equal(leaf.NotAfter) || chain.GetSerialNumber() != leaf.SerialNumber.Text(16) || trusted.GetPath() != "<inline>" {
		t.Errorf("%s", w.Body)
	}
}

func parse(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
