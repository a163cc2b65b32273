package cluster

import (
	"strconv"
	"time"

	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// Status is a cluster at one moment, for /clusters.
type Status struct {
	Name, ObservabilityName string
	// Limits are the circuit breaker's, at default priority.
	MaxConnections, MaxPendingRequests, MaxRequests, MaxRetries int64
	Hosts                                                       []HostStatus
}

// HostStatus is an endpoint at one moment. Endpoints that flows bring with them
// are listed while they are in use and a moment longer.
type HostStatus struct {
	Address  network.Address
	HostName string
	// Health is Envoy's word for it: healthy, or flags such as
	// /failed_eds_health.
	Health           string
	Weight, Priority uint32
	Locality         *corev3.Locality

	CxActive, CxConnectFail, CxTotal, RqActive, RqError, RqSuccess, RqTimeout, RqTotal int64
}

// Status is a snapshot. It asks nothing of the network.
func (c *Cluster) Status() Status {
	s := Status{
		Name: c.name, ObservabilityName: statName(c.message),
		MaxConnections: c.breaker.connections.max, MaxPendingRequests: c.breaker.pending.max,
		MaxRequests: c.breaker.requests.max, MaxRetries: c.breaker.retries.max,
	}
	for _, h := range c.hosts.known() {
		s.Hosts = append(s.Hosts, h.status())
	}
	return s
}

// Status is a snapshot of all clusters in the order of the configuration. A nil
// Set has none.
func (s *Set) Status() []Status {
	if s == nil {
		return nil
	}
	out := make([]Status, len(s.order))
	for i, c := range s.order {
		out[i] = c.Status()
	}
	return out
}

func (h *host) status() HostStatus {
	n := h.n
	return HostStatus{
		Address: h.address, HostName: h.name, Health: h.healthFlags(),
		Weight: h.weight, Priority: h.priority, Locality: h.locality,
		CxActive: n.cxActive.Load(), CxConnectFail: n.cxConnectFail.Load(), CxTotal: n.cxTotal.Load(),
		RqActive: n.rqActive.Load(), RqError: n.rqError.Load(), RqSuccess: n.rqSuccess.Load(),
		RqTimeout: n.rqTimeout.Load(), RqTotal: n.rqTotal.Load(),
	}
}

func (h *host) healthFlags() string {
	switch h.health {
	case corev3.HealthStatus_UNHEALTHY, corev3.HealthStatus_TIMEOUT:
		return "/failed_eds_health"
	case corev3.HealthStatus_DRAINING:
		return "/eds_status_draining"
	case corev3.HealthStatus_DEGRADED:
		return "/degraded_eds_health"
	}
	return "healthy"
}

// Responded charges the answer to a request: its status, 0 if none came in
// time, and how long it took. Of a request that was answered here it is not
// called. u is the upstream of the exchange.
func (c *Cluster) Responded(u *network.UpstreamInfo, status int, took time.Duration) {
	h := c.hostOf(u)
	if status == 0 {
		c.n.rqTimeout.Inc()
		if h != nil {
			h.n.rqTimeout.Add(1)
			h.n.rqError.Add(1)
		}
		return
	}
	c.n.rqCompleted.Inc()
	c.n.code(strconv.Itoa(status/100) + "xx").Inc()
	c.n.code(strconv.Itoa(status)).Inc()
	c.n.rqTime.RecordDuration(took)
	switch {
	case h == nil:
	case status >= 500:
		h.n.rqError.Add(1)
	default:
		h.n.rqSuccess.Add(1)
	}
}

// hostOf finds the endpoint that carried an exchange; nil if it is gone.
func (c *Cluster) hostOf(u *network.UpstreamInfo) *host {
	if u == nil {
		return nil
	}
	if r, ok := c.hosts.(interface {
		find(network.Address, string) *host
	}); ok {
		return r.find(u.Host, u.HostName)
	}
	for _, h := range c.hosts.known() {
		if h.address == u.Host && h.name == u.HostName {
			return h
		}
	}
	return nil
}
