package router

import (
	"context"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// terminate opens the far half of a tunnel that ends here. Only when it is open
// does the client get its 200; what it sent before then has waited in its
// stream.
func (r *Router) terminate(ctx context.Context, x *codec.Exchange, c Cluster) error {
	x.Info.Attempts++
	conn, handler, err := c.OpenFor(ctx, x.Request, x.Info)
	if err == nil && handler != nil {
		x.Upstream.Served, err = r.passOn(ctx, x, handler)
	}
	if err != nil {
		return connectFailed(ctx, x.Info, err)
	}
	x.Upstream.Conn = conn
	x.Response = &codec.Response{Status: 200}
	x.Info.Details = "via_upstream"
	return nil
}

// passOn hands the CONNECT, unanswered, to the handler of an internal listener,
// as a flow of its own in the table.
func (r *Router) passOn(ctx context.Context, x *codec.Exchange, h network.Handler) (*codec.ServedFlow, error) {
	child := x.Info.Inner(r.deps.Flows.NextID())
	if u := x.Info.Upstream(); u != nil {
		child = x.Info.InnerAt(child.ID, u.Host)
		child.LocalAddress = u.Host // where the CONNECT was going to, its payload is not
	}
	r.deps.Flows.Add(child)
	served, err := r.deps.Serve(ctx, h, child)
	if err != nil {
		r.deps.Flows.Remove(child)
		return nil, err
	}
	x.OnEnd(func(codec.EndInfo) { r.deps.Flows.Remove(child) })
	return served, nil
}
