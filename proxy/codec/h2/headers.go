package h2

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"culvert/proxy/codec"

	"golang.org/x/net/http2/hpack"
)

// errHeaderList: the peer would refuse a head as long as this.
var errHeaderList = errors.New("header list is larger than the peer takes")

// request makes a request of a header list, or says which rule it breaks (RFC
// 9113 §8.3.1, RFC 8441 §4).
func (l *headerList) request(endStream, allowConnect bool) (*codec.Request, string) {
	if l.malformed != "" {
		return nil, l.malformed
	}
	r := &codec.Request{Proto: codec.HTTP2, EndStream: endStream, Header: l.fields}
	var scheme, protocol, authority bool
	for _, f := range l.pseudo {
		switch f.Name {
		case ":method":
			r.Method = f.Value
		case ":scheme":
			r.Scheme, scheme = f.Value, true
		case ":authority":
			r.Authority, authority = f.Value, true
		case ":path":
			r.Path, r.HasPath = f.Value, true
		case ":protocol":
			r.Protocol, protocol = f.Value, true
		default:
			return nil, "unknown pseudo-header"
		}
	}
	if problem := pseudoProblem(r, scheme, protocol, allowConnect); problem != "" {
		return nil, problem
	}
	if problem := settleHost(r, authority); problem != "" {
		return nil, problem
	}
	if r.Method == "CONNECT" {
		return r, ""
	}
	n, ok := contentLength(r.Header)
	if (r.Header.Has("content-length") && !ok) || (endStream && n > 0) {
		return nil, "content-length is not a length, or not that of the DATA"
	}
	return r, ""
}

// pseudoProblem judges the set of pseudo-headers. An empty :path of a CONNECT is
// left to the routes to refuse.
func pseudoProblem(r *codec.Request, scheme, protocol, allowConnect bool) string {
	switch {
	case !codec.ValidName(r.Method):
		return "no valid :method"
	case protocol && (r.Method != "CONNECT" || !allowConnect):
		return ":protocol was not offered"
	case protocol && (!visible(r.Protocol) || !scheme || !r.HasPath):
		return "extended CONNECT without :scheme, :path or a valid :protocol"
	case r.Method == "CONNECT" && !protocol && (scheme || r.Path != ""):
		return "CONNECT with :scheme or :path"
	case r.Method != "CONNECT" && (!scheme || r.Path == ""):
		return "no :scheme or no :path"
	case scheme && !codec.ValidName(r.Scheme):
		return "invalid :scheme"
	case r.Path != "" && !visible(r.Path):
		return "invalid :path"
	}
	return ""
}

// visible reports whether s is there and has no space or control character,
// which would end it early in an HTTP/1 request line.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// settleHost reconciles Host with :authority (RFC 9113 §8.3.1): the authority
// is the one that counts, and a Host that differs is an attempt to be read
// twice.
func settleHost(r *codec.Request, authority bool) string {
	hosts := r.Header.Values("host")
	r.Header.Del("host")
	for _, h := range hosts {
		switch {
		case !authority && len(hosts) == 1 && r.Method != "CONNECT":
			r.Authority = h
		case !strings.EqualFold(h, r.Authority):
			return "host differs from :authority"
		}
	}
	if r.Method == "CONNECT" && r.Authority == "" {
		return "CONNECT without :authority"
	}
	if strings.ContainsAny(r.Authority, "/?#@ \\") {
		return "invalid :authority"
	}
	return ""
}

// response makes a response of a header list, or says which rule it breaks (RFC
// 9113 §8.3.2).
func (l *headerList) response(endStream bool) (*codec.Response, string) {
	if l.malformed != "" {
		return nil, l.malformed
	}
	if len(l.pseudo) != 1 || l.pseudo[0].Name != ":status" {
		return nil, "pseudo-headers other than :status"
	}
	s := l.pseudo[0].Value
	n, err := strconv.ParseUint(s, 10, 16)
	switch {
	case err != nil || len(s) != 3 || n < 100:
		return nil, "invalid :status"
	case n == 101:
		return nil, "status 101 in HTTP/2" // RFC 9113 §8.6
	case n < 200 && endStream:
		return nil, "END_STREAM on an informational head"
	}
	if _, ok := contentLength(l.fields); !ok && l.fields.Has("content-length") {
		return nil, "content-length is not a length"
	}
	return &codec.Response{Status: int(n), Header: l.fields, EndStream: endStream}, ""
}

// contentLength is the one declared length; false if there is none or if it is
// no length (RFC 9110 §8.6).
func contentLength(f codec.Fields) (int64, bool) {
	values := f.Values("content-length")
	if len(values) == 0 {
		return 0, false
	}
	for _, v := range values {
		if v != values[0] {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(values[0], 10, 63)
	return int64(n), err == nil && !strings.HasPrefix(values[0], "+")
}

// encodeRequestLocked leaves req's header block in hbuf. If it fails, nothing
// was encoded and the HPACK state is as it was.
func (c *conn) encodeRequestLocked(req *codec.Request) error {
	list := make([]hpack.HeaderField, 0, len(req.Header)+5)
	pseudo := func(name, value string) {
		list = append(list, hpack.HeaderField{Name: name, Value: value})
	}
	authority := req.Authority
	if authority == "" {
		authority = req.Header.Get("host")
	}
	pseudo(":method", req.Method)
	if !req.IsConnect() {
		pseudo(":scheme", req.Scheme)
		pseudo(":path", req.Path)
	}
	if authority != "" {
		pseudo(":authority", authority)
	}
	if req.Protocol != "" && req.Method == "CONNECT" {
		pseudo(":protocol", req.Protocol)
	}
	if !codec.ValidName(req.Method) {
		return fmt.Errorf("invalid method %q", req.Method)
	}
	return c.encodeLocked(list, req.Header, true)
}

func (c *conn) encodeResponseLocked(res *codec.Response) error {
	if res.Status < 100 || res.Status > 999 || res.Status == 101 {
		return fmt.Errorf("status %d cannot be sent in HTTP/2", res.Status)
	}
	list := make([]hpack.HeaderField, 0, len(res.Header)+1)
	list = append(list, hpack.HeaderField{Name: ":status", Value: strconv.Itoa(res.Status)})
	return c.encodeLocked(list, res.Header, false)
}

func (c *conn) queueTrailersLocked(st *stream, t codec.Fields) error {
	if err := c.encodeLocked(make([]hpack.HeaderField, 0, len(t)), t, false); err != nil {
		return fmt.Errorf("trailers: %w", err)
	}
	c.queueBlockLocked(st, true)
	return nil
}

// encodeLocked encodes list and behind it fields. Everything is checked before
// anything is encoded: an encoder that stopped half way would be out of step
// with the peer's decoder.
func (c *conn) encodeLocked(list []hpack.HeaderField, fields codec.Fields, request bool) error {
	for _, f := range list {
		if !codec.ValidValue(f.Value) {
			return fmt.Errorf("invalid value of %s", f.Name)
		}
	}
	for _, f := range fields {
		name := strings.ToLower(f.Name)
		if connectionSpecific(name) || (request && name == "host") ||
			(name == "te" && !strings.EqualFold(f.Value, "trailers")) {
			continue // they speak of another connection than this
		}
		if !codec.ValidName(name) || !codec.ValidValue(f.Value) {
			return fmt.Errorf("invalid field %q", f.Name)
		}
		list = append(list, hpack.HeaderField{Name: name, Value: f.Value, Sensitive: sensitive(name)})
	}
	size := 0
	for _, f := range list {
		size += int(f.Size())
	}
	if limit := c.peer.maxHeaderList; limit > 0 && size > limit {
		return errHeaderList
	}
	c.hbuf.Reset()
	for _, f := range list {
		if err := c.henc.WriteField(f); err != nil {
			return err // bytes.Buffer does not fail
		}
	}
	return nil
}

// sensitive fields are never put in a table, ours or an intermediary's (RFC
// 7541 §7.1.3).
func sensitive(name string) bool {
	switch name {
	case "authorization", "proxy-authorization", "cookie", "set-cookie":
		return true
	}
	return false
}

// queueBlockLocked queues the header block in hbuf.
func (c *conn) queueBlockLocked(st *stream, endStream bool) {
	before := len(c.w.pending)
	c.w.pending = appendHeaderBlock(c.w.pending, st.id, c.hbuf.Bytes(), endStream, c.peer.maxFrame)
	st.wire.Sent(len(c.w.pending) - before)
	st.wire.HeaderSent(len(c.w.pending) - before)
	if c.hbuf.Cap() > maxPending {
		c.hbuf = bytes.Buffer{} // one long head must not cost memory for good
	}
}
