package admin

import (
	"regexp"
	"slices"
	"strings"

	"culvert/configs/field"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Paths are the only ones that are answered; nil or empty: all.
type Paths struct{ match []func(string) bool }

// NewPaths compiles allow_paths. Errors are field errors of Admin.
func NewPaths(list []*matcherv3.StringMatcher) (*Paths, error) {
	p := new(Paths)
	var errs []error
	for i, m := range list {
		match, err := newStringMatch(m)
		if err != nil {
			errs = append(errs, field.At(field.Index("allow_paths", i), err))
			continue
		}
		p.match = append(p.match, match)
	}
	return p, field.Join(errs...)
}

// newStringMatch compiles a StringMatcher. ignore_case is not for regular
// expressions, which say it themselves.
func newStringMatch(m *matcherv3.StringMatcher) (func(string) bool, error) {
	fold := func(s string) string { return s }
	if m.GetIgnoreCase() {
		fold = strings.ToLower
	}
	with := func(test func(s, pattern string) bool, pattern string) (func(string) bool, error) {
		pattern = fold(pattern)
		return func(s string) bool { return test(fold(s), pattern) }, nil
	}
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return with(func(s, pattern string) bool { return s == pattern }, p.Exact)
	case *matcherv3.StringMatcher_Prefix:
		return with(strings.HasPrefix, p.Prefix)
	case *matcherv3.StringMatcher_Suffix:
		return with(strings.HasSuffix, p.Suffix)
	case *matcherv3.StringMatcher_Contains:
		return with(strings.Contains, p.Contains)
	case *matcherv3.StringMatcher_SafeRegex:
		re, err := regexp.Compile(`^(?:` + p.SafeRegex.GetRegex() + `)$`)
		if err != nil {
			return nil, field.At("safe_regex.regex", err)
		}
		return re.MatchString, nil
	}
	return nil, field.Errorf("", "want exact, prefix, suffix, contains or safe_regex")
}

// Allow reports whether a path, without its query, may be asked for.
func (p *Paths) Allow(path string) bool {
	if p == nil || len(p.match) == 0 {
		return true
	}
	return slices.ContainsFunc(p.match, func(match func(string) bool) bool { return match(path) })
}
