package format

import (
	"culvert/proxy/network"
)

func upstreamOperators() map[string]definition {
	upstream := func(get func(u *network.UpstreamInfo) string) definition {
		return text(func(c *Context) string {
			if u := c.Info.Upstream(); u != nil {
				return get(u)
			}
			return ""
		})
	}
	host := func(print func([]byte, network.Address) []byte) definition {
		return definition{build: func(string) (operator, string) {
			return operator{value: func(dst []byte, c *Context) ([]byte, bool) {
				u := c.Info.Upstream()
				switch {
				case u == nil:
					return dst, false
				case u.HostName != "":
					return append(dst, u.HostName...), true
				case u.Host.IsZero():
					return dst, false
				}
				return print(dst, u.Host), true
			}}, ""
		}}
	}
	return map[string]definition{
		"UPSTREAM_HOST":                     address(upstreamAddress(func(u *network.UpstreamInfo) network.Address { return u.Host }), appendAddress),
		"UPSTREAM_HOST_NAME":                host(appendAddress),
		"UPSTREAM_HOST_NAME_WITHOUT_PORT":   host(appendHost),
		"UPSTREAM_CLUSTER":                  text(upstreamCluster),
		"UPSTREAM_CLUSTER_RAW":              text(upstreamCluster),
		"UPSTREAM_PROTOCOL":                 upstream(func(u *network.UpstreamInfo) string { return u.Protocol }),
		"UPSTREAM_TRANSPORT_FAILURE_REASON": oneWord(func(c *Context) string { return c.Info.TransportFailure }),
		"UPSTREAM_REQUEST_ATTEMPT_COUNT":    number(func(c *Context) (int64, bool) { return int64(c.Info.Attempts), true }),
		"UPSTREAM_CONNECTION_ID": number(func(c *Context) (int64, bool) {
			u := c.Info.Upstream()
			if u == nil || u.ConnectionID == 0 {
				return 0, false
			}
			return int64(u.ConnectionID), true
		}),
	}
}

// upstreamCluster is the cluster of the endpoint, else the one picked for the
// flow.
func upstreamCluster(c *Context) string {
	if u := c.Info.Upstream(); u != nil && u.Cluster != "" {
		return u.Cluster
	}
	return c.Info.Cluster
}
