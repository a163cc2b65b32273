package matcher

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"culvert/configs/field"
	"culvert/proxy/codec"
)

// Header is a compiled HeaderMatcher. It is immutable.
type Header struct {
	name           string
	value          func(string) bool // nil: presence is the question
	invert         bool
	missingIsEmpty bool
}

// Matches reports whether a request has the field as it is wanted.
func (m *Header) Matches(req *codec.Request) bool {
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

// NewHeader compiles h. Errors are relative to it.
func NewHeader(h *routev3.HeaderMatcher) (Header, error) {
	m := Header{
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
		m.value, err = newString(s.StringMatch)
		err = field.At("string_match", err)
	case *routev3.HeaderMatcher_RangeMatch:
		m.value = rangeMatch(s.RangeMatch.GetStart(), s.RangeMatch.GetEnd())
	case *routev3.HeaderMatcher_ExactMatch:
		m.value = Exact(s.ExactMatch, false)
	case *routev3.HeaderMatcher_PrefixMatch:
		m.value = Prefix(s.PrefixMatch, false)
	case *routev3.HeaderMatcher_SuffixMatch:
		m.value = suffixMatch(s.SuffixMatch, false)
	case *routev3.HeaderMatcher_ContainsMatch:
		m.value = containsMatch(s.ContainsMatch, false)
	case *routev3.HeaderMatcher_SafeRegexMatch:
		m.value, err = newRegexMatch(s.SafeRegexMatch)
		err = field.At("safe_regex_match", err)
	default:
		err = field.Errorf("", "header matcher %T is not supported", s)
	}
	return m, err
}
