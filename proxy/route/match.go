package route

import (
	"regexp"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"culvert/configs/field"
	"culvert/proxy/codec"
)

// matcher is a compiled RouteMatch.
type matcher struct {
	target  func(req *codec.Request) bool
	headers []headerMatcher
	// prefix is the part of the path that prefix_rewrite replaces; empty
	// replaces the whole path.
	prefix string
}

func (m *matcher) matches(req *codec.Request) bool {
	if !m.target(req) {
		return false
	}
	for i := range m.headers {
		if !m.headers[i].matches(req) {
			return false
		}
	}
	return true
}

func newMatcher(rm *routev3.RouteMatch) (*matcher, error) {
	m := &matcher{}
	fold := rm.GetCaseSensitive() != nil && !rm.GetCaseSensitive().Value
	var errs []error
	switch p := rm.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		m.prefix = p.Prefix
		m.target = onPath(prefixMatch(p.Prefix, fold))
	case *routev3.RouteMatch_Path:
		m.target = onPath(exactMatch(p.Path, fold))
	case *routev3.RouteMatch_PathSeparatedPrefix:
		m.prefix = p.PathSeparatedPrefix
		exact, below := exactMatch(p.PathSeparatedPrefix, fold), prefixMatch(p.PathSeparatedPrefix+"/", fold)
		m.target = onPath(func(path string) bool { return exact(path) || below(path) })
	case *routev3.RouteMatch_SafeRegex:
		re, err := newRegex(p.SafeRegex)
		errs = append(errs, field.At("safe_regex", err))
		m.target = onPath(func(path string) bool { return re.MatchString(path) })
	case *routev3.RouteMatch_ConnectMatcher_:
		m.target = isTunnel
	default:
		errs = append(errs, field.Errorf("", "a match needs prefix, path, path_separated_prefix, safe_regex or connect_matcher"))
	}
	for i, h := range rm.GetHeaders() {
		hm, err := newHeaderMatcher(h)
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

func exactMatch(want string, fold bool) func(string) bool {
	if fold {
		return func(s string) bool { return strings.EqualFold(s, want) }
	}
	return func(s string) bool { return s == want }
}

func prefixMatch(want string, fold bool) func(string) bool {
	if fold {
		return func(s string) bool { return len(s) >= len(want) && strings.EqualFold(s[:len(want)], want) }
	}
	return func(s string) bool { return strings.HasPrefix(s, want) }
}

// newRegex compiles a RegexMatcher, which must match the whole value.
func newRegex(rm *matcherv3.RegexMatcher) (*regexp.Regexp, error) {
	re, err := regexp.Compile(`^(?:` + rm.GetRegex() + `)$`)
	if err != nil {
		return nil, field.Errorf("regex", "%v", err)
	}
	return re, nil
}
