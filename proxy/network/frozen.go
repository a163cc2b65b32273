package network

import "maps"

// Frozen is a copy of what is known of s now, that of the connection an
// exchange came on included, for whoever works for several flows and outlives
// this one: it is never written to, and does not hold on to s. Of the flows
// outside an internal listener it has what tells a loop from a chain.
func (s *StreamInfo) Frozen() *StreamInfo {
	c := &StreamInfo{
		ID: s.ID, ConnectionID: s.ConnectionID, StreamID: s.StreamID, Start: s.Start,
		RemoteAddress: s.RemoteAddress, LocalAddress: s.LocalAddress,
		DirectRemoteAddress: s.DirectRemoteAddress, DirectLocalAddress: s.DirectLocalAddress,
		ServerName: s.ServerName, TLS: s.TLS, ALPN: s.ALPN,
		Listener: s.Listener, FilterChain: s.FilterChain, Route: s.Route, Cluster: s.Cluster, Protocol: s.Protocol,
		Parent: s.visited(), hops: s.hops,
	}
	for i := s; i != nil; i = i.sameConnection() {
		for _, o := range i.FilterState {
			if _, ok := c.FilterState.Lookup(o.Name); !ok {
				c.ShareFilterState(o.Name, o.Value, i.sharing[o.Name])
			}
		}
		for namespace, values := range i.Metadata {
			if _, ok := c.Metadata[namespace]; ok {
				continue
			}
			if c.Metadata == nil {
				c.Metadata = make(map[string]map[string]any)
			}
			c.Metadata[namespace] = maps.Clone(values)
		}
	}
	return c
}
