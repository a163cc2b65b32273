package listener

import (
	"net/netip"
	"slices"
	"strings"

	"culvert/configs/field"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// matcher is a filter_chain_match: one list a criterion, in the order they are
// asked. An empty list asks nothing.
type matcher struct {
	destinationPort uint16 // 0: any
	destination     []netip.Prefix
	serverNames     []string // lower case; "*.example.com" as ".example.com"
	transport       string   // empty: any
	protocols       []string
	directSource    []netip.Prefix
	sourceType      listenerv3.FilterChainMatch_ConnectionSourceType
	source          []netip.Prefix
	sourcePorts     []uint16
}

func newMatcher(m *listenerv3.FilterChainMatch) (matcher, error) {
	out := matcher{
		destinationPort: uint16(m.GetDestinationPort().GetValue()),
		transport:       m.GetTransportProtocol(),
		protocols:       m.GetApplicationProtocols(),
		sourceType:      m.GetSourceType(),
	}
	for _, p := range m.GetSourcePorts() {
		out.sourcePorts = append(out.sourcePorts, uint16(p))
	}
	var errs [4]error
	out.destination, errs[0] = newPrefixes("prefix_ranges", m.GetPrefixRanges())
	out.directSource, errs[1] = newPrefixes("direct_source_prefix_ranges", m.GetDirectSourcePrefixRanges())
	out.source, errs[2] = newPrefixes("source_prefix_ranges", m.GetSourcePrefixRanges())
	out.serverNames, errs[3] = newServerNames(m.GetServerNames())
	return out, field.Join(errs[0], errs[3], errs[1], errs[2])
}

func newPrefixes(path string, list []*corev3.CidrRange) ([]netip.Prefix, error) {
	var out []netip.Prefix
	var errs []error
	for i, m := range list {
		ip, err := netip.ParseAddr(m.GetAddressPrefix())
		bits := int(m.GetPrefixLen().GetValue())
		switch {
		case err != nil || ip.Zone() != "":
			errs = append(errs, field.Errorf(field.Index(path, i)+".address_prefix", "malformed IP address: %s", m.GetAddressPrefix()))
			continue
		case bits > ip.BitLen():
			errs = append(errs, field.Errorf(field.Index(path, i)+".prefix_len", "%d is longer than the address", bits))
			continue
		}
		out = append(out, netip.PrefixFrom(ip, bits).Masked())
	}
	return out, field.Join(errs...)
}

func newServerNames(list []string) ([]string, error) {
	var out []string
	for i, s := range list {
		name, wild := strings.CutPrefix(s, "*")
		switch {
		case strings.Contains(name, "*"), wild && name != "" && name[0] != '.':
			return nil, field.Errorf(field.Index("server_names", i), `partial wildcards are not supported in "server_names"`)
		case s == "*": // any name, as an empty list
			return nil, nil
		}
		out = append(out, strings.ToLower(name))
	}
	return out, nil
}

// matchChain finds the chain of a flow as Envoy does: criterion by criterion,
// those whose value is the most specific go on, and there is no way back. A
// chain that asks nothing is the least specific.
func matchChain(chains []*chain, info *network.StreamInfo) *chain {
	for _, keep := range []func([]*chain, *network.StreamInfo) []*chain{
		byDestinationPort, byDestination, byServerName, byTransport, byProtocol,
		byDirectSource, bySourceType, bySource, bySourcePort,
	} {
		if chains = keep(chains, info); len(chains) == 0 {
			return nil
		}
	}
	return chains[0]
}

// prefer is the chains that ask for the value, or if there are none those that
// ask nothing.
func prefer(chains []*chain, asks, asksNothing func(*matcher) bool) []*chain {
	if out := filter(chains, asks); len(out) > 0 {
		return out
	}
	return filter(chains, asksNothing)
}

func filter(chains []*chain, keep func(*matcher) bool) []*chain {
	var out []*chain
	for _, c := range chains {
		if keep(&c.match) {
			out = append(out, c)
		}
	}
	return out
}

func byDestinationPort(chains []*chain, info *network.StreamInfo) []*chain {
	port := info.LocalAddress.Port()
	return prefer(chains,
		func(m *matcher) bool { return port != 0 && m.destinationPort == port },
		func(m *matcher) bool { return m.destinationPort == 0 })
}

func byDestination(chains []*chain, info *network.StreamInfo) []*chain {
	return byPrefix(chains, info.LocalAddress, func(m *matcher) []netip.Prefix { return m.destination })
}

func byDirectSource(chains []*chain, info *network.StreamInfo) []*chain {
	a := info.DirectRemoteAddress
	if a.IsZero() {
		a = info.RemoteAddress
	}
	return byPrefix(chains, a, func(m *matcher) []netip.Prefix { return m.directSource })
}

func bySource(chains []*chain, info *network.StreamInfo) []*chain {
	return byPrefix(chains, info.RemoteAddress, func(m *matcher) []netip.Prefix { return m.source })
}

// byPrefix keeps the chains with the longest prefix around the address; no
// prefix at all is a prefix of length 0. What is not an IP lies in none.
func byPrefix(chains []*chain, a network.Address, list func(*matcher) []netip.Prefix) []*chain {
	longest := 0
	if a.Kind == network.AddressIP {
		for _, c := range chains {
			longest = max(longest, around(list(&c.match), a.IP.Addr()))
		}
	}
	return filter(chains, func(m *matcher) bool {
		prefixes := list(m)
		if len(prefixes) == 0 {
			return longest == 0
		}
		return a.Kind == network.AddressIP && around(prefixes, a.IP.Addr()) == longest
	})
}

// around is the length of the longest prefix that contains ip, -1 if none does.
func around(prefixes []netip.Prefix, ip netip.Addr) int {
	longest := -1
	for _, p := range prefixes {
		if p.Contains(ip) {
			longest = max(longest, p.Bits())
		}
	}
	return longest
}

// byServerName tries the whole name, then each suffix from the longest on.
func byServerName(chains []*chain, info *network.StreamInfo) []*chain {
	name := strings.ToLower(info.ServerName)
	for try := name; try != ""; try = nextSuffix(try) {
		asks := func(m *matcher) bool { return slices.Contains(m.serverNames, try) }
		if out := filter(chains, asks); len(out) > 0 {
			return out
		}
	}
	return filter(chains, func(m *matcher) bool { return len(m.serverNames) == 0 })
}

// nextSuffix goes from www.example.com to .example.com to .com to nothing.
func nextSuffix(s string) string {
	if s == "" {
		return ""
	}
	i := strings.IndexByte(s[1:], '.')
	if i < 0 || i+2 == len(s) {
		return ""
	}
	return s[1+i:]
}

// byTransport knows raw_buffer: without a listener filter that looks, nothing
// else is detected.
func byTransport(chains []*chain, _ *network.StreamInfo) []*chain {
	return prefer(chains,
		func(m *matcher) bool { return m.transport == "raw_buffer" },
		func(m *matcher) bool { return m.transport == "" })
}

func byProtocol(chains []*chain, info *network.StreamInfo) []*chain {
	return prefer(chains,
		func(m *matcher) bool { return info.ALPN != "" && slices.Contains(m.protocols, info.ALPN) },
		func(m *matcher) bool { return len(m.protocols) == 0 })
}

func bySourceType(chains []*chain, info *network.StreamInfo) []*chain {
	want := listenerv3.FilterChainMatch_EXTERNAL
	if isLocal(info) {
		want = listenerv3.FilterChainMatch_SAME_IP_OR_LOOPBACK
	}
	return prefer(chains,
		func(m *matcher) bool { return m.sourceType == want },
		func(m *matcher) bool { return m.sourceType == listenerv3.FilterChainMatch_ANY })
}

func isLocal(info *network.StreamInfo) bool {
	remote, local := info.RemoteAddress, info.LocalAddress
	switch remote.Kind {
	case network.AddressPipe:
		return true
	case network.AddressIP:
		return remote.IP.Addr().IsLoopback() || local.Kind == network.AddressIP && remote.IP.Addr() == local.IP.Addr()
	}
	return false
}

func bySourcePort(chains []*chain, info *network.StreamInfo) []*chain {
	port := info.RemoteAddress.Port()
	return prefer(chains,
		func(m *matcher) bool { return slices.Contains(m.sourcePorts, port) },
		func(m *matcher) bool { return len(m.sourcePorts) == 0 })
}

// equal reports the same criteria.
func (m *matcher) equal(o *matcher) bool {
	return m.destinationPort == o.destinationPort && m.transport == o.transport && m.sourceType == o.sourceType &&
		sameSet(m.destination, o.destination) && sameSet(m.serverNames, o.serverNames) &&
		sameSet(m.protocols, o.protocols) && sameSet(m.directSource, o.directSource) &&
		sameSet(m.source, o.source) && sameSet(m.sourcePorts, o.sourcePorts)
}

// overlaps reports a value in common for each criterion.
func (m *matcher) overlaps(o *matcher) bool {
	return m.destinationPort == o.destinationPort && m.transport == o.transport && m.sourceType == o.sourceType &&
		meet(m.destination, o.destination) && meet(m.serverNames, o.serverNames) &&
		meet(m.protocols, o.protocols) && meet(m.directSource, o.directSource) &&
		meet(m.source, o.source) && meet(m.sourcePorts, o.sourcePorts)
}

func sameSet[T comparable](a, b []T) bool {
	in := func(list []T) func(T) bool { return func(x T) bool { return !slices.Contains(list, x) } }
	return !slices.ContainsFunc(a, in(b)) && !slices.ContainsFunc(b, in(a))
}

func meet[T comparable](a, b []T) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	return slices.ContainsFunc(a, func(x T) bool { return slices.Contains(b, x) })
}
