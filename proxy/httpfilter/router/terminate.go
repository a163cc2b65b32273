package router

import (
	"context"

	"culvert/proxy/codec"
)

// terminate opens the far half of a tunnel that ends here. Only when it is open
// does the client get its 200; what it sent before then has waited in its
// stream.
func (r *Router) terminate(ctx context.Context, x *codec.Exchange, c Cluster) error {
	x.Info.Attempts++
	conn, handler, err := c.OpenFor(ctx, x.Request, x.Info)
	if err == nil && handler != nil {
		x.Upstream.Served, err = r.deps.Serve(ctx, handler, x.Info.Child(r.deps.Flows.NextID()))
	}
	if err != nil {
		return connectFailed(ctx, x.Info, err)
	}
	x.Upstream.Conn = conn
	x.Response = &codec.Response{Status: 200}
	x.Info.Details = "via_upstream"
	return nil
}
