package transport

import (
	"crypto/x509"
	"fmt"
	"regexp"
	"strings"

	"culvert/configs/field"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// sanMatcher is one of match_typed_subject_alt_names: a certificate needs one
// name that one of them matches.
type sanMatcher struct {
	names func(*x509.Certificate) []string
	match func(name string) bool
}

func (m sanMatcher) matches(c *x509.Certificate) bool {
	for _, name := range m.names(c) {
		if m.match(name) {
			return true
		}
	}
	return false
}

func newSANMatchers(list []*tlsv3.SubjectAltNameMatcher) ([]sanMatcher, error) {
	var out []sanMatcher
	var errs []error
	for i, m := range list {
		s, err := newSANMatcher(m)
		errs = append(errs, field.At(field.Index("", i), err))
		out = append(out, s)
	}
	return out, field.Join(errs...)
}

func newSANMatcher(m *tlsv3.SubjectAltNameMatcher) (s sanMatcher, err error) {
	s.match, err = newStringMatch(m.GetMatcher())
	if err != nil {
		return s, field.At("matcher", err)
	}
	switch m.GetSanType() {
	case tlsv3.SubjectAltNameMatcher_DNS:
		s.names = func(c *x509.Certificate) []string { return c.DNSNames }
		if exact, ok := m.GetMatcher().GetMatchPattern().(*matcherv3.StringMatcher_Exact); ok {
			s.match = dnsMatch(exact.Exact)
		}
	case tlsv3.SubjectAltNameMatcher_URI:
		s.names = func(c *x509.Certificate) []string { return strs(c.URIs) }
	case tlsv3.SubjectAltNameMatcher_EMAIL:
		s.names = func(c *x509.Certificate) []string { return c.EmailAddresses }
	case tlsv3.SubjectAltNameMatcher_IP_ADDRESS:
		s.names = func(c *x509.Certificate) []string { return strs(c.IPAddresses) }
	default:
		return s, field.Errorf("san_type", "%s is not supported by culvert", m.GetSanType())
	}
	return s, nil
}

func strs[T fmt.Stringer](list []T) []string {
	var out []string
	for _, x := range list {
		out = append(out, x.String())
	}
	return out
}

// dnsMatch compares as host names are: without case, and a wildcard in the
// certificate stands for one label.
func dnsMatch(want string) func(string) bool {
	return func(name string) bool {
		one := x509.Certificate{DNSNames: []string{name}}
		return one.VerifyHostname(want) == nil
	}
}

// newStringMatch compiles a StringMatcher.
func newStringMatch(m *matcherv3.StringMatcher) (func(string) bool, error) {
	fold := func(s string) string { return s }
	if m.GetIgnoreCase() {
		fold = strings.ToLower
	}
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return func(s string) bool { return fold(s) == fold(p.Exact) }, nil
	case *matcherv3.StringMatcher_Prefix:
		return func(s string) bool { return strings.HasPrefix(fold(s), fold(p.Prefix)) }, nil
	case *matcherv3.StringMatcher_Suffix:
		return func(s string) bool { return strings.HasSuffix(fold(s), fold(p.Suffix)) }, nil
	case *matcherv3.StringMatcher_Contains:
		return func(s string) bool { return strings.Contains(fold(s), fold(p.Contains)) }, nil
	case *matcherv3.StringMatcher_SafeRegex:
		re, err := regexp.Compile("^(?:" + p.SafeRegex.GetRegex() + ")$")
		if err != nil {
			return nil, field.At("safe_regex.regex", err)
		}
		return re.MatchString, nil
	}
	return nil, field.Errorf("", "this kind of matcher is not supported by culvert")
}
