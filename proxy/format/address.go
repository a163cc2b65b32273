package format

import (
	"culvert/proxy/network"
)

func addressOperators() map[string]definition {
	out := make(map[string]definition)
	for name, of := range map[string]func(c *Context) network.Address{
		"DOWNSTREAM_REMOTE": func(c *Context) network.Address { return c.Info.RemoteAddress },
		"DOWNSTREAM_LOCAL":  func(c *Context) network.Address { return c.Info.LocalAddress },
		"DOWNSTREAM_DIRECT_REMOTE": func(c *Context) network.Address {
			return either(c.Info.DirectRemoteAddress, c.Info.RemoteAddress)
		},
		"DOWNSTREAM_DIRECT_LOCAL": func(c *Context) network.Address {
			return either(c.Info.DirectLocalAddress, c.Info.LocalAddress)
		},
		"UPSTREAM_LOCAL": upstreamAddress(func(u *network.UpstreamInfo) network.Address { return u.LocalAddress }),
		"UPSTREAM_REMOTE": upstreamAddress(func(u *network.UpstreamInfo) network.Address {
			return either(u.RemoteAddress, u.Host)
		}),
	} {
		out[name+"_ADDRESS"] = address(of, appendAddress)
		out[name+"_ADDRESS_WITHOUT_PORT"] = address(of, appendHost)
		out[name+"_PORT"] = number(func(c *Context) (int64, bool) { return port(of(c)) })
		out[name+"_ADDRESS_ENDPOINT_ID"] = text(func(c *Context) string { return of(c).ID })
	}
	return out
}

// either is the first address that is set: what restored no original leaves
// the direct pair unset.
func either(a, b network.Address) network.Address {
	if a.IsZero() {
		return b
	}
	return a
}

func upstreamAddress(get func(u *network.UpstreamInfo) network.Address) func(c *Context) network.Address {
	return func(c *Context) network.Address {
		if u := c.Info.Upstream(); u != nil {
			return get(u)
		}
		return network.Address{}
	}
}

func address(of func(c *Context) network.Address, print func([]byte, network.Address) []byte) definition {
	return definition{build: func(string) (operator, string) {
		return operator{value: func(dst []byte, c *Context) ([]byte, bool) {
			a := of(c)
			if a.IsZero() {
				return dst, false
			}
			return print(dst, a), true
		}}, ""
	}}
}

// appendAddress appends a as it prints itself, an IP without allocation.
func appendAddress(dst []byte, a network.Address) []byte {
	if a.Kind == network.AddressIP {
		return a.IP.AppendTo(dst)
	}
	return append(dst, a.String()...)
}

// appendHost appends a without its port; of an address that has none, all.
func appendHost(dst []byte, a network.Address) []byte {
	switch a.Kind {
	case network.AddressIP:
		return a.IP.Addr().AppendTo(dst)
	case network.AddressName:
		return append(dst, a.Name...)
	}
	return append(dst, a.String()...)
}

func port(a network.Address) (int64, bool) {
	return int64(a.Port()), a.Kind == network.AddressIP || a.Kind == network.AddressName
}
