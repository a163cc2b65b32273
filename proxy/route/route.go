package route

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"culvert/configs/field"
)

// Route is one compiled route: exactly one of its actions is set.
type Route struct {
	Name string

	Forward  *Forward
	Direct   *DirectResponse
	Redirect *Redirect

	match     *requestMatcher
	mutations mutations
}

func (c *compiler) route(r *routev3.Route) (*Route, error) {
	out := &Route{Name: r.GetName()}
	var matchErr, mutationErr, err error
	out.mutations, mutationErr = newMutations(r)
	out.match, matchErr = newMatcher(r.GetMatch())
	switch a := r.GetAction().(type) {
	case *routev3.Route_Route:
		out.Forward, err = c.forward(a.Route, out.match.prefix)
		err = field.At("route", err)
	case *routev3.Route_DirectResponse:
		out.Direct, err = c.directResponse(a.DirectResponse)
		err = field.At("direct_response", err)
	case *routev3.Route_Redirect:
		out.Redirect, err = newRedirect(a.Redirect, out.match.prefix)
		err = field.At("redirect", err)
	default:
		err = field.Errorf("", "a route needs the action route, redirect or direct_response")
	}
	return out, field.Join(field.At("match", matchErr), mutationErr, err)
}

// UpgradeFor is what the route says of an upgrade type, nil if nothing. Types
// compare without case.
func (r *Route) UpgradeFor(kind string) *Upgrade {
	if r.Forward == nil {
		return nil
	}
	return r.Forward.upgradeFor(kind)
}
