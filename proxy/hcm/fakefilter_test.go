package hcm

import (
	"context"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/httpfilter/router"
	"culvert/proxy/network"
	"culvert/tunnel"
)

// answers is a terminal filter that answers with a status and no body.
type answers int

func (a answers) Terminal() bool { return true }

func (a answers) RoundTrip(_ context.Context, x *codec.Exchange, _ codec.RoundTripper) error {
	x.Response = &codec.Response{Status: int(a), EndStream: true}
	return nil
}

// ends makes a filter terminal.
type ends struct{ codec.Filter }

func (ends) Terminal() bool { return true }

// gated is the real router behind a gate: it says on the channel that it was
// reached, and goes on when it is told so.
type gated struct {
	*router.Router
	gate chan struct{}
}

func gatedRouter(t *testing.T, c router.Cluster, gate chan struct{}) codec.Filter {
	r, err := router.New(nil, router.Deps{
		Clusters: func(string) (router.Cluster, bool) { return c, true },
		Serve:    tunnel.Serve, Flows: network.NewFlowTable(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return gated{r, gate}
}

func (g gated) RoundTrip(ctx context.Context, x *codec.Exchange, next codec.RoundTripper) error {
	g.gate <- struct{}{}
	<-g.gate
	return g.Router.RoundTrip(ctx, x, next)
}
