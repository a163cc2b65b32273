package router

import (
	"context"
	"fmt"

	"culvert/proxy/codec"
	"culvert/proxy/network"
	"culvert/proxy/route"
)

// terminate opens the far half of a tunnel that ends here. Only when it is open
// does the client get its 200; what it sent before then has waited in its
// stream.
func (r *Router) terminate(ctx context.Context, x *codec.Exchange, c Cluster, connect *route.Connect) error {
	if err := r.refuseEarly(x); err != nil {
		return err
	}
	x.Info.Attempts++
	head := *x.Request
	head.Authority = connectAuthority(x)
	conn, handler, err := c.OpenFor(ctx, &head, x.Info)
	if err != nil {
		return connectFailed(ctx, x.Info, err)
	}
	x.Upstream.Conn = conn // hcm aborts it if anything but a 200 comes of this
	if err := r.refuseEarly(x); err != nil {
		return err
	}
	if conn != nil {
		err = introduce(conn, connect, x.Info)
	} else {
		x.Upstream.Served, err = r.passOn(ctx, x, handler)
	}
	if err != nil {
		return connectFailed(ctx, x.Info, err)
	}
	if err := r.refuseEarly(x); err != nil {
		return err
	}
	x.Response = &codec.Response{Status: 200}
	x.Info.Details = "via_upstream"
	return nil
}

// introduce sends the PROXY header that the far half reads first.
func introduce(conn network.Conn, connect *route.Connect, info *network.StreamInfo) error {
	if connect.ProxyHeader == nil {
		return nil
	}
	header, err := connect.ProxyHeader.Header(info, nil)
	if err == nil {
		_, err = conn.Write(header)
	}
	if err != nil {
		conn.Abort(err)
		return fmt.Errorf("PROXY header: %w", err)
	}
	info.Introduced(len(header))
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
