package route

import (
	"regexp"
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"culvert/configs/field"
	"culvert/proxy/codec"
)

// headerMatcher is a compiled HeaderMatcher.
type headerMatcher struct {
	name           string
	value          func(string) bool // nil: presence is the question
	invert         bool
	missingIsEmpty bool
}

func (m *headerMatcher) matches(req *codec.Request) bool {
	v, ok := headerValue(req, m.name)
	if m.value == nil {
		return ok != m.invert
	}
	if !ok {
		// A missing header matches nothing, not even an inverted match, unless
		// it counts as empty.
		if !m.missingIsEmpty {
			return false
		}
		v = ""
	}
	return m.value(v) != m.invert
}

// headerValue is the value of a field or pseudo-header field; several lines of
// one name are joined with commas (RFC 9110 §5.3).
func headerValue(req *codec.Request, name string) (string, bool) {
	switch name {
	case ":method":
		return req.Method, true
	case ":authority", "host":
		return req.Authority, req.Authority != ""
	case ":path":
		return req.Path, req.HasPath
	case ":scheme":
		return req.Scheme, req.Scheme != ""
	case ":protocol":
		return req.Protocol, req.Protocol != ""
	}
	if !req.Header.Has(name) {
		return "", false
	}
	return strings.Join(req.Header.Values(name), ","), true
}

func newHeaderMatcher(h *routev3.HeaderMatcher) (headerMatcher, error) {
	m := headerMatcher{
		name:           strings.ToLower(h.GetName()),
		invert:         h.GetInvertMatch(),
		missingIsEmpty: h.GetTreatMissingHeaderAsEmpty(),
	}
	var err error
	switch s := h.GetHeaderMatchSpecifier().(type) {
	case nil: // no specifier asks for presence
	case *routev3.HeaderMatcher_PresentMatch:
		m.invert = m.invert == s.PresentMatch // present_match: false asks for absence
	case *routev3.HeaderMatcher_StringMatch:
		m.value, err = newStringMatch(s.StringMatch)
		err = field.At("string_match", err)
	case *routev3.HeaderMatcher_RangeMatch:
		m.value = rangeMatch(s.RangeMatch.GetStart(), s.RangeMatch.GetEnd())
	case *routev3.HeaderMatcher_ExactMatch:
		m.value = exactMatch(s.ExactMatch, false)
	case *routev3.HeaderMatcher_PrefixMatch:
		m.value = prefixMatch(s.PrefixMatch, false)
	case *routev3.HeaderMatcher_SuffixMatch:
		m.value = suffixMatch(s.SuffixMatch, false)
	case *routev3.HeaderMatcher_ContainsMatch:
		m.value = containsMatch(s.ContainsMatch, false)
	case *routev3.HeaderMatcher_SafeRegexMatch:
		m.value, err = regexMatch(s.SafeRegexMatch)
		err = field.At("safe_regex_match", err)
	default:
		err = field.Errorf("", "header matcher %T is not supported", s)
	}
	return m, err
}

func newStringMatch(s *matcherv3.StringMatcher) (func(string) bool, error) {
	fold := s.GetIgnoreCase()
	switch p := s.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return exactMatch(p.Exact, fold), nil
	case *matcherv3.StringMatcher_Prefix:
		return prefixMatch(p.Prefix, fold), nil
	case *matcherv3.StringMatcher_Suffix:
		return suffixMatch(p.Suffix, fold), nil
	case *matcherv3.StringMatcher_Contains:
		return containsMatch(p.Contains, fold), nil
	case *matcherv3.StringMatcher_SafeRegex:
		match, err := regexMatch(p.SafeRegex)
		return match, field.At("safe_regex", err)
	}
	return nil, field.Errorf("", "string matcher %T is not supported", s.GetMatchPattern())
}

func suffixMatch(want string, fold bool) func(string) bool {
	if fold {
		return func(s string) bool { return len(s) >= len(want) && strings.EqualFold(s[len(s)-len(want):], want) }
	}
	return func(s string) bool { return strings.HasSuffix(s, want) }
}

func containsMatch(want string, fold bool) func(string) bool {
	if fold {
		want = strings.ToLower(want)
		return func(s string) bool { return strings.Contains(strings.ToLower(s), want) }
	}
	return func(s string) bool { return strings.Contains(s, want) }
}

func regexMatch(rm *matcherv3.RegexMatcher) (func(string) bool, error) {
	var re *regexp.Regexp
	re, err := newRegex(rm)
	if err != nil {
		return nil, err
	}
	return re.MatchString, nil
}

// rangeMatch holds for decimal integers in [start, end).
func rangeMatch(start, end int64) func(string) bool {
	return func(s string) bool {
		n, err := strconv.ParseInt(s, 10, 64)
		return err == nil && n >= start && n < end
	}
}
