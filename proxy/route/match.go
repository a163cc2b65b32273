package route

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/matcher"
)

// requestMatcher is a compiled RouteMatch.
type requestMatcher struct {
	target  func(req *codec.Request) bool
	headers []matcher.Header
	// prefix is the part of the path that prefix_rewrite replaces; empty
	// replaces the whole path.
	prefix string
}

func (m *requestMatcher) matches(req *codec.Request) bool {
	if !m.target(req) {
		return false
	}
	for i := range m.headers {
		if !m.headers[i].Matches(req) {
			return false
		}
	}
	return true
}

func newMatcher(rm *routev3.RouteMatch) (*requestMatcher, error) {
	m := &requestMatcher{}
	fold := rm.GetCaseSensitive() != nil && !rm.GetCaseSensitive().Value
	var errs []error
	switch p := rm.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		m.prefix = p.Prefix
		m.target = onPath(matcher.Prefix(p.Prefix, fold))
	case *routev3.RouteMatch_Path:
		m.target = onPath(matcher.Exact(p.Path, fold))
	case *routev3.RouteMatch_PathSeparatedPrefix:
		m.prefix = p.PathSeparatedPrefix
		exact, below := matcher.Exact(p.PathSeparatedPrefix, fold), matcher.Prefix(p.PathSeparatedPrefix+"/", fold)
		m.target = onPath(func(path string) bool { return exact(path) || below(path) })
	case *routev3.RouteMatch_SafeRegex:
		re, err := matcher.NewRegex(p.SafeRegex)
		errs = append(errs, field.At("safe_regex", err))
		m.target = onPath(func(path string) bool { return re.MatchString(path) })
	case *routev3.RouteMatch_ConnectMatcher_:
		m.target = isTunnel
	default:
		errs = append(errs, field.Errorf("", "a match needs prefix, path, path_separated_prefix, safe_regex or connect_matcher"))
	}
	for i, h := range rm.GetHeaders() {
		hm, err := matcher.NewHeader(h)
		errs = append(errs, field.At(field.Index("headers", i), err))
		m.headers = append(m.headers, hm)
	}
	return m, field.Join(errs...)
}

// isTunnel is connect_matcher: a CONNECT, or an extended CONNECT for UDP, but
// no other upgrade.
func isTunnel(req *codec.Request) bool {
	return req.Method == "CONNECT" && (req.Protocol == "" || strings.EqualFold(req.Protocol, "connect-udp"))
}

// onPath makes a matcher of paths one of requests: without a path nothing
// matches, and query and fragment are not part of it.
func onPath(match func(path string) bool) func(*codec.Request) bool {
	return func(req *codec.Request) bool {
		if !req.HasPath {
			return false
		}
		path, _ := splitPath(req.Path)
		return match(path)
	}
}

// splitPath parts a :path before its query or fragment.
func splitPath(s string) (path, rest string) {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}
