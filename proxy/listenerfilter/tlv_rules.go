package listenerfilter

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"

	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/transport/proxyprotocol"

	ppv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
)

// Where the values of TLVs go.
const (
	// proxyProtocolNamespace is the metadata of rules that name no other.
	proxyProtocolNamespace = "envoy.filters.listener.proxy_protocol"
	// StateTLVs is the filter state that holds TLVValues.
	StateTLVs = "envoy.network.proxy_protocol.tlv"
)

// TLVValues are the values that rules found, by their keys: filter state, where
// the configuration wants them there. It is immutable once it is.
type TLVValues map[string]string

// Field is the value of a key, for FILTER_STATE(…:FIELD:key).
func (v TLVValues) Field(name string) (any, bool) {
	s, ok := v[name]
	return s, ok
}

// String prints them in the order of their keys.
func (v TLVValues) String() string {
	var b strings.Builder
	for i, key := range slices.Sorted(maps.Keys(v)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(key + "=" + v[key])
	}
	return b.String()
}

// rule is a TLV whose value is kept.
type rule struct {
	kind           byte
	namespace, key string
	base64         bool
}

func newRules(list []*ppv3.ProxyProtocol_Rule, inState bool) ([]rule, error) {
	var out []rule
	var errs []error
	for i, m := range list {
		path, pair := field.Index("rules", i), m.GetOnTlvPresent()
		switch {
		case m.GetTlvType() > 255:
			errs = append(errs, field.Errorf(path+".tlv_type", "%d is more than a byte", m.GetTlvType()))
		case pair == nil: // nothing is asked for
			continue
		case inState && pair.GetMetadataNamespace() != "":
			errs = append(errs, field.Errorf(path+".on_tlv_present.metadata_namespace", "filter state has no namespaces (tlv_location)"))
		}
		r := rule{
			kind: byte(m.GetTlvType()), namespace: pair.GetMetadataNamespace(), key: pair.GetKey(),
			base64: pair.GetValueStringEncoding() == ppv3.ProxyProtocol_KeyValuePair_BASE64,
		}
		if r.namespace == "" {
			r.namespace = proxyProtocolNamespace
		}
		out = append(out, r)
	}
	return out, field.Join(errs...)
}

// applyRules keeps the values that rules ask for. Of several TLVs of a type the
// last counts.
func (f *ProxyProtocol) applyRules(tlvs []proxyprotocol.TLV, info *network.StreamInfo) {
	found := TLVValues{}
	for _, t := range tlvs {
		for _, r := range f.rules {
			switch {
			case r.kind != t.Type:
			case f.inState:
				found[r.key] = r.text(t.Value)
			default:
				info.SetMetadata(r.namespace, r.key, r.text(t.Value))
			}
		}
	}
	if len(found) > 0 {
		info.SetFilterState(StateTLVs, found)
	}
}

// text is a value as a string: in base64, or with ! for what is not UTF-8.
func (r rule) text(value []byte) string {
	if r.base64 {
		return base64.StdEncoding.EncodeToString(value)
	}
	return strings.ToValidUTF8(string(value), "!")
}
