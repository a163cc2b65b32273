package matcher

import (
	"regexp"
	"strconv"
	"strings"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"culvert/configs/field"
)

// newString compiles a StringMatcher.
func newString(s *matcherv3.StringMatcher) (func(string) bool, error) {
	fold := s.GetIgnoreCase()
	switch p := s.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return Exact(p.Exact, fold), nil
	case *matcherv3.StringMatcher_Prefix:
		return Prefix(p.Prefix, fold), nil
	case *matcherv3.StringMatcher_Suffix:
		return suffixMatch(p.Suffix, fold), nil
	case *matcherv3.StringMatcher_Contains:
		return containsMatch(p.Contains, fold), nil
	case *matcherv3.StringMatcher_SafeRegex:
		match, err := newRegexMatch(p.SafeRegex)
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

func newRegexMatch(rm *matcherv3.RegexMatcher) (func(string) bool, error) {
	re, err := NewRegex(rm)
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

// Exact matches one value, without case if fold.
func Exact(want string, fold bool) func(string) bool {
	if fold {
		return func(s string) bool { return strings.EqualFold(s, want) }
	}
	return func(s string) bool { return s == want }
}

// Prefix matches what begins with want, without case if fold.
func Prefix(want string, fold bool) func(string) bool {
	if fold {
		return func(s string) bool { return len(s) >= len(want) && strings.EqualFold(s[:len(want)], want) }
	}
	return func(s string) bool { return strings.HasPrefix(s, want) }
}

// NewRegex compiles a RegexMatcher, which must match the whole value.
func NewRegex(rm *matcherv3.RegexMatcher) (*regexp.Regexp, error) {
	re, err := regexp.Compile(`^(?:` + rm.GetRegex() + `)$`)
	if err != nil {
		return nil, field.Errorf("regex", "%v", err)
	}
	return re, nil
}
