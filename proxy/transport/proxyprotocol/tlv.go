package proxyprotocol

import (
	"errors"
	"slices"

	"culvert/configs/field"
	"culvert/proxy/format"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// TLVs are compiled TlvEntry messages. They are immutable; nil is none.
type TLVs struct{ entries []entry }

type entry struct {
	kind   byte
	value  []byte
	format *format.Substitution // instead of value
}

// NewTLVs compiles entries. Errors are relative to the list: [1].value.
func NewTLVs(list []*corev3.TlvEntry) (*TLVs, error) {
	t := &TLVs{}
	var errs []error
	for i, m := range list {
		e, err := newEntry(m)
		errs = append(errs, field.At(field.Index("", i), err))
		t.entries = append(t.entries, e)
	}
	return t, field.Join(errs...)
}

func newEntry(m *corev3.TlvEntry) (entry, error) {
	e := entry{kind: byte(m.GetType()), value: m.GetValue()}
	switch {
	case m.GetType() > 255:
		return e, field.Errorf("type", "%d is more than a byte", m.GetType())
	case ofHeader(e.kind):
		return e, field.Errorf("type", "%#02x speaks of the header itself", e.kind)
	case len(m.GetValue()) > 0 && m.GetFormatString() != nil:
		return e, errors.New("Invalid TLV configuration: only one of 'value' or 'format_string' may be set.") //nolint:staticcheck // Envoy's words
	case len(m.GetValue()) == 0 && m.GetFormatString() == nil:
		return e, errors.New("Invalid TLV configuration: one of 'value' or 'format_string' must be set.") //nolint:staticcheck // Envoy's words
	case m.GetFormatString() != nil:
		var err error
		e.format, err = format.NewSubstitution(m.GetFormatString())
		return e, field.At("format_string", err)
	}
	return e, nil
}

// Evaluate gives the entries their values for a flow.
func (t *TLVs) Evaluate(c *format.Context) []TLV {
	if t == nil {
		return nil
	}
	out := make([]TLV, len(t.entries))
	for i, e := range t.entries {
		out[i] = TLV{e.kind, e.value}
		if e.format != nil {
			out[i].Value = e.format.Append(nil, c)
		}
	}
	return out
}

// contextOf is what formats see of a flow, which may be nil.
func contextOf(info *network.StreamInfo) *format.Context {
	if info == nil {
		info = network.NewStreamInfo(0)
	}
	return &format.Context{Info: info}
}

// hostMetadata is the namespace of the typed metadata that an endpoint's TLVs
// are in.
const hostMetadata = "envoy.transport_sockets.proxy_protocol"

// HostTLVs are the TLVs that an endpoint's metadata adds. Errors are relative to
// the Metadata.
func HostTLVs(m *corev3.Metadata) ([]TLV, error) {
	packed, ok := m.GetTypedFilterMetadata()[hostMetadata]
	if !ok {
		return nil, nil
	}
	path := "typed_filter_metadata." + hostMetadata
	var config corev3.PerHostConfig
	if err := packed.UnmarshalTo(&config); err != nil {
		return nil, field.At(path, err)
	}
	compiled, err := NewTLVs(config.GetAddedTlvs())
	if err != nil {
		return nil, field.At(path+".added_tlvs", err)
	}
	var out []TLV
	for i, e := range compiled.entries {
		if e.format != nil {
			return nil, field.Errorf(field.Index(path+".added_tlvs", i)+".format_string", "an endpoint's TLVs are constant")
		}
		out = append(out, TLV{e.kind, e.value})
	}
	return out, nil
}

// Passing says which TLVs go through. nil lets none.
type Passing struct {
	m *corev3.ProxyProtocolPassThroughTLVs
}

// NewPassing compiles pass_through_tlvs; nil without one.
func NewPassing(m *corev3.ProxyProtocolPassThroughTLVs) (*Passing, error) {
	if m == nil {
		return nil, nil
	}
	var errs []error
	for i, kind := range m.GetTlvType() {
		if kind > 255 {
			errs = append(errs, field.Errorf(field.Index("tlv_type", i), "%d is more than a byte", kind))
		}
	}
	return &Passing{m}, field.Join(errs...)
}

// Of is what goes through of tlvs. A checksum and padding never do.
func (p *Passing) Of(tlvs []TLV) []TLV {
	if p == nil {
		return nil
	}
	all := p.m.GetMatchType() == corev3.ProxyProtocolPassThroughTLVs_INCLUDE_ALL
	var out []TLV
	for _, t := range tlvs {
		if !ofHeader(t.Type) && (all || slices.Contains(p.m.GetTlvType(), uint32(t.Type))) {
			out = append(out, t)
		}
	}
	return out
}

// Honoured declares the fields this package reads.
func Honoured() field.Honoured {
	h := field.Honoured{
		"envoy.config.core.v3.ProxyProtocolConfig":          "version pass_through_tlvs added_tlvs",
		"envoy.config.core.v3.ProxyProtocolPassThroughTLVs": "match_type tlv_type",
		"envoy.config.core.v3.TlvEntry":                     "type value format_string",
		"envoy.config.core.v3.PerHostConfig":                "added_tlvs",
	}
	h.Merge(format.Honoured())
	return h
}
