package cluster

import (
	"fmt"

	"culvert/proxy/network"

	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
)

// metadataKey is a place in dynamic metadata: a namespace and the keys of maps
// within each other.
type metadataKey struct {
	namespace string
	path      []string
}

func newMetadataKey(m *metadatav3.MetadataKey) *metadataKey {
	if m == nil {
		return nil
	}
	k := &metadataKey{namespace: m.GetKey()}
	for _, p := range m.GetPath() {
		k.path = append(k.path, p.GetKey())
	}
	return k
}

// find is the string at that place, of the exchange or the connection it came
// on.
func (k *metadataKey) find(info *network.StreamInfo) (string, bool) {
	if k == nil || len(k.path) == 0 {
		return "", false
	}
	for {
		if v, ok := k.within(info.Metadata[k.namespace]); ok {
			return v, true
		}
		if info.Parent == nil || info.Parent.ConnectionID != info.ConnectionID {
			return "", false
		}
		info = info.Parent
	}
}

func (k *metadataKey) within(m map[string]any) (string, bool) {
	var v any = m
	for _, key := range k.path {
		inner, ok := v.(map[string]any)
		if !ok {
			return "", false
		}
		if v, ok = inner[key]; !ok {
			return "", false
		}
	}
	switch v := v.(type) {
	case string:
		return v, true
	case fmt.Stringer:
		return v.String(), true
	}
	return "", false
}
