package route

import (
	"net"
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"culvert/configs/field"
	"culvert/proxy/codec"
)

// Redirect is a compiled RedirectAction.
type Redirect struct {
	Status int

	scheme, host  string
	port          uint32
	path          *string // replaces the whole path
	prefix        string  // what prefixRewrite replaces; empty: the whole path
	prefixRewrite *string
	stripQuery    bool
}

func newRedirect(a *routev3.RedirectAction, prefix string) (*Redirect, error) {
	r := &Redirect{host: a.GetHostRedirect(), port: a.GetPortRedirect(), prefix: prefix, stripQuery: a.GetStripQuery()}
	switch s := a.GetSchemeRewriteSpecifier().(type) {
	case *routev3.RedirectAction_HttpsRedirect:
		if s.HttpsRedirect {
			r.scheme = "https"
		}
	case *routev3.RedirectAction_SchemeRedirect:
		r.scheme = s.SchemeRedirect
	}
	switch p := a.GetPathRewriteSpecifier().(type) {
	case nil:
	case *routev3.RedirectAction_PathRedirect:
		r.path = &p.PathRedirect
	case *routev3.RedirectAction_PrefixRewrite:
		r.prefixRewrite = &p.PrefixRewrite
	default:
		return nil, field.Errorf("regex_rewrite", "is not supported")
	}
	switch a.GetResponseCode() {
	case routev3.RedirectAction_FOUND:
		r.Status = 302
	case routev3.RedirectAction_SEE_OTHER:
		r.Status = 303
	case routev3.RedirectAction_TEMPORARY_REDIRECT:
		r.Status = 307
	case routev3.RedirectAction_PERMANENT_REDIRECT:
		r.Status = 308
	default:
		r.Status = 301
	}
	return r, nil
}

// Location is where req is sent. A request without a path (CONNECT) is sent to
// the configured one, or to none.
func (r *Redirect) Location(req *codec.Request) string {
	scheme := req.Scheme
	if scheme == "" {
		scheme = "http"
	}
	host, port := withoutPort(req.Authority), strings.TrimPrefix(req.Authority[len(withoutPort(req.Authority)):], ":")
	if r.scheme != "" && r.scheme != scheme {
		// The default port of one scheme is not kept for another.
		if port == "80" && scheme == "http" || port == "443" && scheme == "https" {
			port = ""
		}
		scheme = r.scheme
	}
	if r.host != "" {
		host, port = r.host, ""
	}
	if r.port != 0 {
		port = strconv.Itoa(int(r.port))
	}
	if port != "" {
		host = net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	return scheme + "://" + host + r.target(req)
}

// target is path and query of the new location.
func (r *Redirect) target(req *codec.Request) string {
	path, query := splitPath(req.Path)
	if r.stripQuery {
		query = ""
	}
	switch {
	case r.path != nil && strings.Contains(*r.path, "?"):
		return *r.path // brings its own query
	case r.path != nil:
		return *r.path + query
	case r.prefixRewrite != nil && req.HasPath:
		return replacePrefix(path, r.prefix, *r.prefixRewrite) + query
	}
	return path + query
}
