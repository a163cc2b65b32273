package format

import "culvert/proxy/network"

// wireOperators count bytes as they were framed, on either side; what is counted
// network.WireMeter says. SENT is what culvert sent to that side.
func wireOperators() map[string]definition {
	all := make(map[string]definition)
	for side, of := range map[string]func(*network.StreamInfo) network.WireBytes{
		"DOWNSTREAM": (*network.StreamInfo).DownstreamBytes,
		"UPSTREAM":   (*network.StreamInfo).UpstreamBytes,
	} {
		for name, get := range map[string]func(network.WireBytes) uint64{
			"WIRE_BYTES_SENT":       func(b network.WireBytes) uint64 { return b.Sent },
			"WIRE_BYTES_RECEIVED":   func(b network.WireBytes) uint64 { return b.Received },
			"HEADER_BYTES_SENT":     func(b network.WireBytes) uint64 { return b.HeaderSent },
			"HEADER_BYTES_RECEIVED": func(b network.WireBytes) uint64 { return b.HeaderReceived },
		} {
			all[side+"_"+name] = number(func(c *Context) (int64, bool) { return int64(get(of(c.Info))), true })
		}
	}
	return all
}
