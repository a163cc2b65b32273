package tcpproxy

import (
	"errors"
	"fmt"
	"strings"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/format"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

// tunneling is tunneling_config, compiled: how to ask for a flow's tunnel.
type tunneling struct {
	hostname *format.Format
	headers  []headerToAdd
}

type headerToAdd struct {
	name      string // lower case
	value     *format.Format
	action    corev3.HeaderValueOption_HeaderAppendAction
	keepEmpty bool
}

func newTunneling(m *tcpproxyv3.TcpProxy_TunnelingConfig) (*tunneling, error) {
	if m == nil {
		return nil, nil
	}
	t := &tunneling{}
	var errs []error
	var err error
	if t.hostname, err = format.Compile(m.GetHostname()); err != nil {
		errs = append(errs, field.At("hostname", err))
	}
	if m.GetHostname() == "" {
		errs = append(errs, field.Errorf("hostname", "is empty"))
	}
	for i, o := range m.GetHeadersToAdd() {
		h, err := newHeaderToAdd(o)
		if err != nil {
			errs = append(errs, field.At(field.Index("headers_to_add", i), err))
			continue
		}
		t.headers = append(t.headers, h)
	}
	return t, field.Join(errs...)
}

func newHeaderToAdd(o *corev3.HeaderValueOption) (headerToAdd, error) {
	h := headerToAdd{
		name: strings.ToLower(o.GetHeader().GetKey()), action: o.GetAppendAction(), keepEmpty: o.GetKeepEmptyValue(),
	}
	if a := o.GetAppend(); a != nil && !a.GetValue() { // deprecated: append: false
		h.action = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
	}
	switch {
	case strings.HasPrefix(h.name, ":") || h.name == "host":
		return h, field.Errorf("header.key", ":-prefixed or host headers may not be modified")
	case !codec.ValidName(h.name):
		return h, field.Errorf("header.key", "%q is not a header name", o.GetHeader().GetKey())
	case isConnectionHeader(h.name):
		return h, field.Errorf("header.key", "%s belongs to the connection, not to the request", h.name)
	}
	text := o.GetHeader().GetValue()
	if text == "" {
		text = string(o.GetHeader().GetRawValue())
	}
	var err error
	h.value, err = format.Compile(text)
	return h, field.At("header.value", err)
}

// isConnectionHeader names what HTTP/2 forbids (RFC 9113 §8.2.2) and what would
// announce a body that a tunnel has not.
func isConnectionHeader(name string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "te", "content-length":
		return true
	}
	return false
}

// errNotAValue is a substituted value that would break a head apart. What a
// flow brings with it (SNI, metadata) is a stranger's word.
var errNotAValue = errors.New("the substituted value is not one")

// head is the CONNECT for a flow.
func (t *tunneling) head(info *network.StreamInfo) (*codec.Request, error) {
	c := &format.Context{Info: info}
	authority := t.hostname.String(c)
	if !validAuthority(authority) {
		return nil, network.WithReason(network.ReasonDenied, fmt.Errorf("hostname: %w", errNotAValue))
	}
	req := &codec.Request{Method: "CONNECT", Authority: authority}
	for _, h := range t.headers {
		v := h.value.String(c)
		if !codec.ValidValue(v) {
			return nil, network.WithReason(network.ReasonDenied, fmt.Errorf("header %s: %w", h.name, errNotAValue))
		}
		h.apply(&req.Header, v)
	}
	return req, nil
}

func (h *headerToAdd) apply(f *codec.Fields, value string) {
	if value == "" && !h.keepEmpty {
		return
	}
	has := f.Has(h.name)
	switch h.action {
	case corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD:
		f.Add(h.name, value)
	case corev3.HeaderValueOption_ADD_IF_ABSENT:
		if !has {
			f.Add(h.name, value)
		}
	case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD:
		f.Set(h.name, value)
	case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS:
		if has {
			f.Set(h.name, value)
		}
	}
}

// validAuthority wants one word of printable ASCII without what would end an
// authority (RFC 3986 §3.2).
func validAuthority(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`/?#@\"<>`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
