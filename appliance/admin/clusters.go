package admin

import (
	"fmt"
	"io"
	"net/http"

	"culvert/proxy/cluster"
	"culvert/proxy/network"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func clustersPage(d Deps) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		list := d.Clusters()
		if r.URL.Query().Get("format") == "json" {
			page := new(adminv3.Clusters)
			for _, s := range list {
				page.ClusterStatuses = append(page.ClusterStatuses, clusterMessage(s))
			}
			writeProto(w, page)
			return
		}
		for _, s := range list {
			writeCluster(w, s)
		}
	}
}

// writeCluster leaves out Envoy's lines of high priority: there is none.
func writeCluster(w io.Writer, s cluster.Status) {
	name := clean(s.Name)
	fmt.Fprintf(w, "%s::observability_name::%s\n", name, clean(s.ObservabilityName))
	for _, l := range []struct {
		name string
		max  int64
	}{
		{"connections", s.MaxConnections}, {"pending_requests", s.MaxPendingRequests},
		{"requests", s.MaxRequests}, {"retries", s.MaxRetries},
	} {
		fmt.Fprintf(w, "%s::default_priority::max_%s::%d\n", name, l.name, l.max)
	}
	fmt.Fprintf(w, "%s::added_via_api::false\n", name)
	for _, h := range s.Hosts {
		writeHost(w, name+"::"+clean(h.Address.String())+"::", h)
	}
}

// writeHost writes -1 for success rates, as Envoy does where no outlier
// detection counts them.
func writeHost(w io.Writer, prefix string, h cluster.HostStatus) {
	for _, m := range hostMetrics(h) {
		fmt.Fprintf(w, "%s%s::%d\n", prefix, m.GetName(), m.GetValue())
	}
	for _, p := range [][2]any{
		{"hostname", clean(h.HostName)}, {"health_flags", h.Health}, {"weight", h.Weight},
		{"region", clean(h.Locality.GetRegion())}, {"zone", clean(h.Locality.GetZone())}, {"sub_zone", clean(h.Locality.GetSubZone())},
		{"canary", false}, {"priority", h.Priority}, {"success_rate", -1}, {"local_origin_success_rate", -1},
	} {
		fmt.Fprintf(w, "%s%v::%v\n", prefix, p[0], p[1])
	}
}

// hostMetrics are the numbers of an endpoint, by name.
func hostMetrics(h cluster.HostStatus) []*adminv3.SimpleMetric {
	counter := func(name string, v int64) *adminv3.SimpleMetric {
		return &adminv3.SimpleMetric{Name: name, Value: uint64(max(v, 0)), Type: adminv3.SimpleMetric_COUNTER}
	}
	gauge := func(name string, v int64) *adminv3.SimpleMetric {
		return &adminv3.SimpleMetric{Name: name, Value: uint64(max(v, 0)), Type: adminv3.SimpleMetric_GAUGE}
	}
	return []*adminv3.SimpleMetric{
		gauge("cx_active", h.CxActive), counter("cx_connect_fail", h.CxConnectFail), counter("cx_total", h.CxTotal),
		gauge("rq_active", h.RqActive), counter("rq_error", h.RqError), counter("rq_success", h.RqSuccess),
		counter("rq_timeout", h.RqTimeout), counter("rq_total", h.RqTotal),
	}
}

func clusterMessage(s cluster.Status) *adminv3.ClusterStatus {
	limit := func(n int64) *wrapperspb.UInt32Value { return wrapperspb.UInt32(uint32(n)) }
	out := &adminv3.ClusterStatus{
		Name: s.Name, ObservabilityName: s.ObservabilityName,
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxConnections: limit(s.MaxConnections), MaxPendingRequests: limit(s.MaxPendingRequests),
			MaxRequests: limit(s.MaxRequests), MaxRetries: limit(s.MaxRetries),
		}}},
	}
	for _, h := range s.Hosts {
		out.HostStatuses = append(out.HostStatuses, &adminv3.HostStatus{
			Address: addressMessage(h.Address), Stats: hostMetrics(h), HealthStatus: healthMessage(h.Health),
			Weight: h.Weight, Hostname: h.HostName, Priority: h.Priority, Locality: h.Locality,
		})
	}
	return out
}

// healthMessage is the status that discovery gave an endpoint.
func healthMessage(flags string) *adminv3.HostHealthStatus {
	status := corev3.HealthStatus_HEALTHY
	switch flags {
	case "/failed_eds_health":
		status = corev3.HealthStatus_UNHEALTHY
	case "/eds_status_draining":
		status = corev3.HealthStatus_DRAINING
	case "/degraded_eds_health":
		status = corev3.HealthStatus_DEGRADED
	}
	return &adminv3.HostHealthStatus{EdsHealthStatus: status}
}

func addressMessage(a network.Address) *corev3.Address {
	socket := func(host string, port uint16) *corev3.Address {
		return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
		}}}
	}
	switch a.Kind {
	case network.AddressIP:
		return socket(a.IP.Addr().String(), a.IP.Port())
	case network.AddressName:
		return socket(a.Name, a.IP.Port())
	case network.AddressPipe:
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: a.Name}}}
	case network.AddressInternal:
		return &corev3.Address{Address: &corev3.Address_EnvoyInternalAddress{EnvoyInternalAddress: &corev3.EnvoyInternalAddress{
			AddressNameSpecifier: &corev3.EnvoyInternalAddress_ServerListenerName{ServerListenerName: a.Name}, EndpointId: a.ID,
		}}}
	}
	return nil
}
