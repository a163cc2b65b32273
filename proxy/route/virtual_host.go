package route

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"culvert/configs/field"
)

type virtualHost struct {
	name      string
	routes    []*Route
	mutations mutations
}

func (c *compiler) virtualHost(vh *routev3.VirtualHost) (*virtualHost, error) {
	h := &virtualHost{name: vh.GetName()}
	var errs []error
	var mutationErr error
	h.mutations, mutationErr = newMutations(vh)
	errs = append(errs, mutationErr)
	for i, r := range vh.GetRoutes() {
		route, err := c.route(r)
		errs = append(errs, field.At(field.Index("routes", i), err))
		h.routes = append(h.routes, route)
	}
	return h, field.Join(errs...)
}

// hostIndex finds a virtual host by authority: the exact domain, else the
// longest *suffix, else the longest prefix*, else *. Domains compare without
// case.
type hostIndex struct {
	exact    map[string]*virtualHost
	suffixes map[string]*virtualHost // keyed by what follows the *
	prefixes map[string]*virtualHost // keyed by what precedes the *
	any      *virtualHost
}

func (x *hostIndex) init() {
	x.exact = map[string]*virtualHost{}
	x.suffixes = map[string]*virtualHost{}
	x.prefixes = map[string]*virtualHost{}
}

func (x *hostIndex) add(domain string, h *virtualHost, table string) error {
	d := strings.ToLower(domain)
	switch {
	case d == "*":
		if x.any != nil {
			return field.Errorf("", "Only a single wildcard domain is permitted in route %s", table)
		}
		x.any = h
		return nil
	case strings.HasPrefix(d, "*"):
		return put(x.suffixes, d[1:], domain, h, table)
	case strings.HasSuffix(d, "*"):
		return put(x.prefixes, d[:len(d)-1], domain, h, table)
	}
	return put(x.exact, d, domain, h, table)
}

func put(m map[string]*virtualHost, key, domain string, h *virtualHost, table string) error {
	if strings.Contains(key, "*") {
		return field.Errorf("", "domain %q: a wildcard is the first or the last character", domain)
	}
	if m[key] != nil {
		return field.Errorf("", "Only unique values for domains are permitted. Duplicate entry of domain %s in route %s",
			domain, table)
	}
	m[key] = h
	return nil
}

func (x *hostIndex) find(authority string) *virtualHost {
	host := strings.ToLower(authority)
	if h := x.exact[host]; h != nil {
		return h
	}
	// The wildcard stands for at least one character, and the longest literal
	// part wins, so the search begins one character in.
	for i := 1; i < len(host) && len(x.suffixes) > 0; i++ {
		if h := x.suffixes[host[i:]]; h != nil {
			return h
		}
	}
	for i := len(host) - 1; i > 0 && len(x.prefixes) > 0; i-- {
		if h := x.prefixes[host[:i]]; h != nil {
			return h
		}
	}
	return x.any
}

// withoutPort drops a trailing :port; an IPv6 literal keeps its brackets.
func withoutPort(host string) string {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.IndexByte(host[i:], ']') >= 0 {
		return host
	}
	if !strings.HasPrefix(host, "[") && strings.IndexByte(host, ':') != i {
		return host // a bare IPv6 address
	}
	return host[:i]
}
