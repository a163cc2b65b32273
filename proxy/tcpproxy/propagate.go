package tcpproxy

import (
	"encoding/json"
	"errors"
	"strconv"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// Filter state of the downstream connection that tells what a tunnel's gateway
// has said: *HeaderMap.
const (
	StateResponseHeaders  = "envoy.tcp_proxy.propagate_response_headers"
	StateResponseTrailers = "envoy.tcp_proxy.propagate_response_trailers"
)

// HeaderMap is what a gateway answered with, :status first, or ended with. It
// prints as Envoy's: {"headers":[{"key":":status","value":"200"}]}; one field
// is FILTER_STATE(name:FIELD:header).
type HeaderMap struct{ Fields codec.Fields }

// MarshalJSON prints the fields in their order.
func (h *HeaderMap) MarshalJSON() ([]byte, error) {
	type header struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	list := make([]header, len(h.Fields))
	for i, f := range h.Fields {
		list[i] = header{f.Name, f.Value}
	}
	return json.Marshal(struct {
		Headers []header `json:"headers"`
	}{list})
}

func (h *HeaderMap) String() string {
	b, err := h.MarshalJSON()
	if err != nil {
		return "" // cannot happen: strings always marshal
	}
	return string(b)
}

// Field is the first value of a field.
func (h *HeaderMap) Field(name string) (any, bool) {
	return h.Fields.Get(name), h.Fields.Has(name)
}

// propagation says what of a gateway's words is kept.
type propagation struct{ headers, trailers bool }

// answered keeps the head of an attempt's answer, whether it was a yes, conn, or
// a no, err. Where there was none, that of the attempt before stays.
func (p propagation) answered(info *network.StreamInfo, conn network.Conn, err error) {
	if !p.headers {
		return
	}
	from, ok := conn.(interface{ Answer() *codec.Response })
	if err != nil {
		ok = errors.As(err, &from)
	}
	if !ok || from.Answer() == nil {
		return
	}
	res := from.Answer()
	h := &HeaderMap{Fields: codec.Fields{{Name: ":status", Value: strconv.Itoa(res.Status)}}}
	h.Fields = append(h.Fields, res.Header...)
	info.SetFilterState(StateResponseHeaders, h)
}

// ended keeps the trailers of a tunnel that is over.
func (p propagation) ended(info *network.StreamInfo, conn network.Conn) {
	if !p.trailers {
		return
	}
	if from, ok := conn.(interface{ Trailers() codec.Fields }); ok {
		if t := from.Trailers(); len(t) > 0 {
			info.SetFilterState(StateResponseTrailers, &HeaderMap{Fields: t.Clone()})
		}
	}
}
