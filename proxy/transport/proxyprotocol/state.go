package proxyprotocol

import (
	"culvert/proxy/network"

	proxyproto "github.com/pires/go-proxyproto"
)

// StateKey is the name of the filter state that holds a *State.
const StateKey = "envoy.network.proxy_protocol_options"

// TLV is a type, length and value of a version 2 header (§2.2).
type TLV struct {
	Type  byte
	Value []byte
}

// State is what a PROXY header towards upstream says of a flow: written by the
// listener filter proxy_protocol and by tcp_proxy, read by upstream transports.
// It is immutable once it is filter state.
type State struct {
	Source, Destination network.Address
	TLVs                []TLV
}

// String prints the two ends.
func (s *State) String() string { return s.Source.String() + " " + s.Destination.String() }

// StateOf is what is known of a flow: its state, or else the two ends of its
// connection. info may be nil, of which nothing is known.
func StateOf(info *network.StreamInfo) *State {
	if info == nil {
		return &State{}
	}
	if v, ok := info.LookupFilterState(StateKey); ok {
		if s, ok := v.(*State); ok {
			return s
		}
	}
	c := info.Connection()
	return &State{Source: c.RemoteAddress, Destination: c.LocalAddress}
}

// Overwrite is tlvs without the types that by has, followed by by.
func Overwrite(tlvs, by []TLV) []TLV {
	out := make([]TLV, 0, len(tlvs)+len(by))
	for _, t := range tlvs {
		if !has(by, t.Type) {
			out = append(out, t)
		}
	}
	return append(out, by...)
}

func has(tlvs []TLV, kind byte) bool {
	for _, t := range tlvs {
		if t.Type == kind {
			return true
		}
	}
	return false
}

// ofHeader reports the types that speak of the header they stand in, and mean
// nothing in another: its checksum and its padding (§2.2.3, §2.2.4).
func ofHeader(kind byte) bool {
	return kind == byte(proxyproto.PP2_TYPE_CRC32C) || kind == byte(proxyproto.PP2_TYPE_NOOP)
}
