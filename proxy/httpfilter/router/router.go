package router

import (
	"context"
	"strconv"
	"strings"
	"time"

	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/format"
	"culvert/proxy/network"
	"culvert/proxy/route"
)

// Cluster is where the router sends what it does not answer itself.
type Cluster interface {
	// OpenFor is raw TCP for a request that is terminated here: a Conn, or for
	// an internal endpoint the handler that the CONNECT is handed to. The head
	// may name the endpoint.
	OpenFor(ctx context.Context, head *codec.Request, info *network.StreamInfo) (network.Conn, network.Handler, error)
	codec.Opener
	// Responded learns of each answer of an endpoint, u: its status, 0 if none
	// came in time, and how long its head took from the request's.
	Responded(u *network.UpstreamInfo, status int, took time.Duration)
}

// Deps are the router's collaborators.
type Deps struct {
	// Clusters finds a cluster by name, asked for each request.
	Clusters func(name string) (Cluster, bool)
	// Serve hands a CONNECT to an internal listener's handler and returns when
	// it has answered (tunnel.Serve).
	Serve func(ctx context.Context, h network.Handler, info *network.StreamInfo) (*codec.ServedFlow, error)
	// Flows numbers the flows that enter internal listeners.
	Flows *network.FlowTable
}

// Router is the terminal filter. It is immutable.
type Router struct {
	deps Deps
	// quiet: no x-envoy- fields are added.
	quiet bool
	// noEarly refuses a CONNECT behind which bytes came before its answer.
	noEarly bool
}

// Honoured declares the fields this package reads.
func Honoured() field.Honoured {
	return field.Honoured{"envoy.extensions.filters.http.router.v3.Router": "suppress_envoy_headers reject_connect_request_early_data"}
}

// New compiles the filter.
func New(m *routerv3.Router, d Deps) (*Router, error) {
	return &Router{deps: d, quiet: m.GetSuppressEnvoyHeaders(), noEarly: m.GetRejectConnectRequestEarlyData().GetValue()}, nil
}

// Terminal says that nothing may follow this filter.
func (r *Router) Terminal() bool { return true }

// RoundTrip does what the route says. Errors are *codec.LocalReply.
func (r *Router) RoundTrip(ctx context.Context, x *codec.Exchange, _ codec.RoundTripper) error {
	d, ok := x.Route.(*route.Decision)
	if !ok || d == nil {
		return &codec.LocalReply{Status: 404, Flags: network.FlagNR, Details: "route_not_found", Reason: network.ReasonNoRoute}
	}
	err := r.act(ctx, x, d)
	if err == nil && x.Response != nil {
		d.MutateResponse(&x.Response.Header, &format.Context{Info: x.Info, Request: x.Request, Response: x.Response})
	}
	return err
}

// act does what the decision says, before the response is changed.
func (r *Router) act(ctx context.Context, x *codec.Exchange, d *route.Decision) error {
	switch {
	case d.Route.Direct != nil:
		answerDirect(x, d.Route.Direct)
		return nil
	case d.Route.Redirect != nil:
		answerRedirect(x, d.Route.Redirect)
		return nil
	}
	if x.Request.Authority == "" {
		return requiredFieldGone()
	}
	forward := d.Route.Forward
	c, ok := r.deps.Clusters(d.Cluster)
	if !ok {
		return &codec.LocalReply{
			Status: forward.ClusterNotFound, Flags: network.FlagNC,
			Details: "cluster_not_found", Reason: network.ReasonNoCluster,
		}
	}
	x.Info.Cluster = d.Cluster
	if connect := forward.Terminates(x.Request.Method, x.Request.Protocol); connect != nil {
		return r.terminate(ctx, x, c, connect)
	}
	return r.forward(ctx, x, c, d)
}

func answerDirect(x *codec.Exchange, d *route.DirectResponse) {
	x.Info.Details = "direct_response"
	x.Response = &codec.Response{Status: d.Status, EndStream: d.Body == ""}
	if d.Body == "" {
		return
	}
	x.Response.Header = codec.Fields{
		{Name: "content-length", Value: strconv.Itoa(len(d.Body))},
		{Name: "content-type", Value: "text/plain"},
	}
	x.ResponseBody = strings.NewReader(d.Body)
}

func answerRedirect(x *codec.Exchange, d *route.Redirect) {
	x.Info.Details = "direct_response"
	x.Response = &codec.Response{Status: d.Status, EndStream: true}
	x.Response.Header.Add("location", d.Location(x.Request))
}
