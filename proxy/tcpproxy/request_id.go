package tcpproxy

import (
	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/format"
	"culvert/proxy/network"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	uuidv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
)

// Where a tunnel's request id is found, as in Envoy.
const (
	metadataNamespace      = "envoy.filters.network.tcp_proxy"
	defaultRequestIDHeader = "x-request-id"
	defaultRequestIDKey    = "tunnel_request_id"
)

// requestID makes an id for each request for a tunnel, and notes it where logs
// and formats find it. UuidRequestIdConfig has no effect beside: it speaks of
// tracing, of which there is none.
type requestID struct {
	header, key string
	generate    func() string
}

func newRequestID(m *tcpproxyv3.TcpProxy_TunnelingConfig) (*requestID, error) {
	id := &requestID{header: m.GetRequestIdHeader(), key: m.GetRequestIdMetadataKey(), generate: format.NewUUID}
	if id.header == "" {
		id.header = defaultRequestIDHeader
	}
	if id.key == "" {
		id.key = defaultRequestIDKey
	}
	if err := checkHeaderName(id.header); err != nil {
		return nil, field.At("request_id_header", err)
	}
	ext := m.GetRequestIdExtension()
	switch {
	case ext == nil:
		return nil, nil // the other two say nothing then, as in Envoy
	case !ext.GetTypedConfig().MessageIs(&uuidv3.UuidRequestIdConfig{}):
		return nil, field.Errorf("request_id_extension.typed_config",
			"Didn't find a registered implementation for type: '%s'", ext.GetTypedConfig().GetTypeUrl())
	}
	return id, nil
}

// add gives a request its id, ahead of the headers that may name it.
func (id *requestID) add(req *codec.Request, info *network.StreamInfo) {
	if id == nil {
		return
	}
	v := id.generate()
	req.Header.Set(id.header, v)
	info.SetMetadata(metadataNamespace, id.key, v)
}
