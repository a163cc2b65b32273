package route

import "culvert/proxy/codec"

// StateConnectPort is the filter state that holds the port which was stripped
// from a CONNECT's authority, with its colon: whoever sends the request on puts
// it back.
const StateConnectPort = "envoy.filters.network.original_connect_port"

// StripPort drops the port from req's authority, any port or only that of local
// (":80"), and returns what it has dropped.
func StripPort(req *codec.Request, any bool, local string) (port string) {
	host := withoutPort(req.Authority)
	port = req.Authority[len(host):]
	if port == "" || (!any && port != local) {
		return ""
	}
	req.Authority = host
	return port
}

// WithPort is an authority to which a stripped port is given back, unless it has
// one.
func WithPort(authority, port string) string {
	if withoutPort(authority) != authority {
		return authority
	}
	return authority + port
}
