package tcpproxy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/format"
	"culvert/proxy/network"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

// tunneling is tunneling_config, compiled: how to ask for a flow's tunnel.
type tunneling struct {
	hostname  *format.Format
	path      string // of a POST; empty: CONNECT
	requestID *requestID
	headers   []headerToAdd
	propagate propagation
}

func newTunneling(m *tcpproxyv3.TcpProxy_TunnelingConfig) (*tunneling, error) {
	if m == nil {
		return nil, nil
	}
	t := &tunneling{propagate: propagation{m.GetPropagateResponseHeaders(), m.GetPropagateResponseTrailers()}}
	var errs []error
	var err error
	if t.hostname, err = format.Compile(m.GetHostname()); err != nil {
		errs = append(errs, field.At("hostname", err))
	}
	if m.GetHostname() == "" {
		errs = append(errs, field.Errorf("hostname", "is empty"))
	}
	t.path, err = postPath(m)
	errs = append(errs, err)
	t.requestID, err = newRequestID(m)
	errs = append(errs, err)
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

// postPath is the path of a POST, empty for CONNECT.
func postPath(m *tcpproxyv3.TcpProxy_TunnelingConfig) (string, error) {
	path := m.GetPostPath()
	switch {
	case path != "" && !m.GetUsePost():
		return "", field.WithFix(field.Errorf("post_path", "Can't set a post path when POST method isn't used"), "use_post: true")
	case path == "" && m.GetUsePost():
		return "/", nil
	case path != "" && !validPath(path):
		return "", field.Errorf("post_path", "%q is not a path", path)
	}
	return path, nil
}

// validPath wants visible ASCII that begins with a slash and has no fragment
// (RFC 9112 §3.2.1).
func validPath(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return s[0] == '/'
}

// errNotAValue is a substituted value that would break a head apart. What a
// flow brings with it (SNI, metadata) is a stranger's word.
var errNotAValue = errors.New("the substituted value is not one")

// head is the request for a flow's tunnel, over an encrypted connection or not.
func (t *tunneling) head(info *network.StreamInfo, secure bool) (*codec.Request, error) {
	req := t.request(secure)
	t.requestID.add(req, info)
	c := &format.Context{Info: info, Request: req}
	authority := t.hostname.String(c)
	if !validAuthority(authority) {
		return nil, network.WithReason(network.ReasonDenied, fmt.Errorf("hostname: %w", errNotAValue))
	}
	req.Authority = authority
	for _, h := range t.headers {
		v := h.value.String(c)
		if !codec.ValidValue(v) {
			return nil, network.WithReason(network.ReasonDenied, fmt.Errorf("header %s: %w", h.name, errNotAValue))
		}
		h.apply(&req.Header, v)
	}
	return req, nil
}

// request is the method with what belongs to it. :scheme is that of the
// connection, which HTTP/1.1 does not send.
func (t *tunneling) request(secure bool) *codec.Request {
	if t.path == "" {
		return &codec.Request{Method: "CONNECT"}
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	return &codec.Request{Method: "POST", Scheme: scheme, Path: t.path, HasPath: true}
}

// halfCloseDetail marks a tunnel whose half-close is TLS's close_notify: an
// HTTP/1.1 CONNECT over TLS has no other word for it, and a peer that answers it
// by closing both directions, as TLS 1.2 has it (RFC 5246 §7.2.1), may cut what
// it was still to send.
const halfCloseDetail = "half_close_by_close_notify"

// open asks a cluster for a flow's tunnel.
func (t *tunneling) open(ctx context.Context, c Cluster, deps Deps, info *network.StreamInfo) (network.Conn, network.Handler, error) {
	secure := c.Secure()
	up := deps.Tunnel(c, func(info *network.StreamInfo) (*codec.Request, error) { return t.head(info, secure) })
	conn, handler, err := up.Open(ctx, info)
	t.propagate.answered(info, conn, err)
	if u := info.Upstream(); err == nil && u != nil && t.path == "" && u.TLS != nil && strings.HasPrefix(u.Protocol, "HTTP/1.") {
		info.Details = halfCloseDetail
	}
	return conn, handler, err
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
