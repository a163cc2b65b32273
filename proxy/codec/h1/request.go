package h1

import (
	"strings"

	"culvert/proxy/codec"
)

// request is a request head and what the codec has to know of it beside.
type request struct {
	*codec.Request
	body   framing
	close  bool // the client wants no more
	expect bool // the client waits for 100 before it sends the body
}

// parseRequest reads a request head (RFC 9112 §3). Errors are *MessageError.
func (c *conn) parseRequest(text string) (*request, error) {
	line, text := cutLine(text)
	r, err := c.parseRequestLine(line)
	if err != nil {
		return nil, err
	}
	if r.Header, err = c.parseFields(text); err != nil {
		return nil, err
	}
	req := &request{Request: r}
	if err := c.settleHost(r); err != nil {
		return nil, err
	}
	c.settleUpgrade(r)
	if req.body, err = requestFraming(r); err != nil {
		return nil, err
	}
	r.EndStream = !r.AsksTunnel() && req.body.kind == noBody
	req.close = r.Proto == codec.HTTP10 || hasToken(r.Header, "connection", "close")
	req.expect = r.Proto == codec.HTTP11 && strings.EqualFold(r.Header.Get("expect"), "100-continue")
	return req, nil
}

func (c *conn) parseRequestLine(line string) (*codec.Request, error) {
	method, rest, ok := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 {
		return nil, bad("malformed request line")
	}
	switch {
	case len(method) > maxMethod:
		return nil, badStatus(501, "method is too long", "")
	case !codec.ValidName(method) || disguised(method):
		return nil, bad("invalid method")
	}
	r := &codec.Request{Proto: codec.HTTP11, Method: method}
	switch {
	case version == "HTTP/1.1":
	case version == "HTTP/1.0" && c.cfg.AcceptHTTP10:
		r.Proto = codec.HTTP10
	case version == "HTTP/1.0":
		return nil, badStatus(426, "HTTP/1.0 is not served", "low_version")
	case isVersion(version):
		return nil, badStatus(505, "HTTP version is not supported", "")
	default:
		return nil, bad("malformed request line")
	}
	return r, parseTarget(r, target)
}

func isVersion(s string) bool {
	return len(s) == 8 && strings.HasPrefix(s, "HTTP/") && s[6] == '.' &&
		'0' <= s[5] && s[5] <= '9' && '0' <= s[7] && s[7] <= '9'
}

// disguised reports a method that is a well-known one in other letters: methods
// have a case (RFC 9110 §9.1), and a next hop that forgets it reads another
// request than we.
func disguised(method string) bool {
	switch upper := strings.ToUpper(method); upper {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH":
		return upper != method
	}
	return false
}

// settleHost makes Authority of what the target and Host say; the target's
// counts (RFC 9112 §3.2.2), also for CONNECT. Host is no longer among the fields
// then: the codec writes it first, of Authority.
func (c *conn) settleHost(r *codec.Request) error {
	hosts, host := count(r.Header, "host")
	switch {
	case hosts > 1:
		return bad("several Host fields")
	case host != "" && !validAuthority(host):
		return bad("invalid Host")
	case hosts == 0 && r.Proto == codec.HTTP11 && r.Method != "CONNECT":
		return badStatus(400, "no Host", "missing_host_header")
	}
	remove(&r.Header, "host")
	switch {
	case r.Authority != "":
	case hosts == 1:
		r.Authority = host
	case r.Proto == codec.HTTP10:
		r.Authority = c.cfg.DefaultHost
	}
	return nil
}

// settleUpgrade makes Protocol of Upgrade. h2c and what is configured to be
// ignored goes, with its tokens in Connection; so does any upgrade of HTTP/1.0
// (RFC 9110 §7.8) and of a CONNECT, which is a tunnel already.
func (c *conn) settleUpgrade(r *codec.Request) {
	if !r.Header.Has("upgrade") && !r.Header.Has("http2-settings") {
		return
	}
	asked := hasToken(r.Header, "connection", "upgrade")
	var kept []string
	for _, v := range r.Header.Values("upgrade") {
		for token := range strings.SplitSeq(v, ",") {
			token = strings.Trim(token, " \t")
			ignored := token == "" || strings.EqualFold(token, "h2c") ||
				(c.cfg.IgnoreUpgrade != nil && c.cfg.IgnoreUpgrade(token))
			if !ignored {
				kept = append(kept, token)
			}
		}
	}
	if !asked || r.Proto == codec.HTTP10 || r.Method == "CONNECT" {
		kept = nil
	}
	remove(&r.Header, "http2-settings")
	dropToken(&r.Header, "connection", "http2-settings")
	if len(kept) == 0 {
		remove(&r.Header, "upgrade")
		dropToken(&r.Header, "connection", "upgrade")
		return
	}
	r.Protocol = strings.Join(kept, ", ")
	r.Header.Set("upgrade", r.Protocol)
}

// dropToken takes a token out of a list field, and the field if nothing is left.
func dropToken(h *codec.Fields, name, token string) {
	out := (*h)[:0:0]
	for _, f := range *h {
		if strings.EqualFold(f.Name, name) {
			var kept []string
			for item := range strings.SplitSeq(f.Value, ",") {
				if item = strings.Trim(item, " \t"); item != "" && !strings.EqualFold(item, token) {
					kept = append(kept, item)
				}
			}
			if len(kept) == 0 {
				continue
			}
			f.Value = strings.Join(kept, ", ")
		}
		out = append(out, f)
	}
	*h = out
}

// requestFraming is how the body of a request is delimited (RFC 9112 §6).
// Whatever two readers could understand differently is refused. A tunnel's
// fields are judged and then mean nothing: what follows its head is payload.
func requestFraming(r *codec.Request) (framing, error) {
	codings, lengths := r.Header.Values("transfer-encoding"), r.Header.Values("content-length")
	switch {
	case len(codings) > 0 && r.Method == "CONNECT":
		return framing{}, badStatus(501, "CONNECT with a body", "http1.invalid_transfer_encoding")
	case len(codings) > 0 && len(lengths) > 0:
		return framing{}, badStatus(400, "Content-Length beside Transfer-Encoding", "http1.content_length_and_chunked_not_allowed")
	case len(codings) > 0 && r.Proto == codec.HTTP10:
		return framing{}, badStatus(400, "Transfer-Encoding in HTTP/1.0", "http1.invalid_transfer_encoding")
	case len(lengths) > 1:
		return framing{}, bad("several Content-Length fields")
	}
	if err := checkCodings(codings); err != nil {
		return framing{}, err
	}
	length := int64(0)
	if len(lengths) == 1 {
		var ok bool
		if length, ok = parseLength(lengths[0]); !ok {
			return framing{}, bad("Content-Length is no length")
		}
	}
	switch {
	case r.Method == "CONNECT" && length > 0:
		return framing{}, badStatus(400, "CONNECT with a body", "http1.body_disallowed")
	case r.Method == "CONNECT":
		remove(&r.Header, "content-length")
		return framing{kind: rawBody}, nil
	case r.Protocol != "":
		return framing{kind: rawBody}, nil
	case len(codings) > 0:
		return framing{kind: chunkedBody}, nil
	case length > 0:
		return framing{kind: fixedBody, length: length}, nil
	}
	return framing{}, nil
}

// checkCodings takes "chunked", once, and nothing else (RFC 9112 §6.1, §7).
func checkCodings(codings []string) error {
	switch {
	case len(codings) == 0, len(codings) == 1 && strings.EqualFold(codings[0], "chunked"):
		return nil
	}
	chunked := 0
	for item := range strings.SplitSeq(strings.Join(codings, ","), ",") {
		switch item = strings.Trim(item, " \t"); {
		case item == "":
			return badStatus(400, "empty transfer coding", "http1.invalid_transfer_encoding")
		case strings.EqualFold(item, "chunked"):
			chunked++
		}
	}
	if chunked > 1 {
		return badStatus(400, "chunked more than once", "http1.invalid_transfer_encoding")
	}
	return badStatus(501, "transfer coding is not supported", "http1.invalid_transfer_encoding")
}
