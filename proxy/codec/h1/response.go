package h1

import (
	"strings"

	"culvert/proxy/codec"
)

// response is a response head and what the codec has to know of it beside.
type response struct {
	*codec.Response
	body  framing
	close bool // the server ends the connection behind it
}

// parseResponse reads a response head (RFC 9112 §4) to req. Errors are
// *MessageError.
func (c *conn) parseResponse(text string, req *codec.Request) (*response, error) {
	line, text := cutLine(text)
	r := &response{Response: new(codec.Response)}
	if len(line) < 12 || (len(line) > 12 && line[12] != ' ') || line[8] != ' ' {
		return nil, bad("malformed status line")
	}
	version, digits := line[:8], line[9:12]
	switch {
	case version != "HTTP/1.1" && version != "HTTP/1.0":
		return nil, bad("HTTP version is not supported")
	case !only(digits, "0123456789") || digits[0] == '0':
		return nil, bad("invalid status")
	case len(line) > 13 && !codec.ValidValue(strings.Trim(line[13:], " \t")):
		return nil, bad("invalid reason phrase")
	}
	r.Status = int(digits[0]-'0')*100 + int(digits[1]-'0')*10 + int(digits[2]-'0')
	var err error
	if r.Header, err = c.parseFields(text); err != nil {
		return nil, err
	}
	old := version == "HTTP/1.0"
	r.close = old || hasToken(r.Header, "connection", "close")
	if r.body, err = responseFraming(r.Response, req, old); err != nil {
		return nil, err
	}
	r.EndStream = r.body.kind == noBody && !r.Informational()
	return r, nil
}

// responseFraming is how the body of a response is delimited (RFC 9112 §6.3).
// Where Content-Length and Transfer-Encoding say nothing they are dropped, so
// that nobody obeys them later: a 2xx to CONNECT (RFC 9110 §9.3.6), 101, 1xx and
// 204.
func responseFraming(res *codec.Response, req *codec.Request, old bool) (framing, error) {
	switch {
	case req.IsConnect() && res.Success():
		dropFraming(res)
		return framing{kind: rawBody}, nil
	case res.Status == 101:
		if req.Protocol == "" {
			return framing{}, bad(errNotUpgrade.Error())
		}
		dropFraming(res)
		res.Protocol = strings.Join(res.Header.Values("upgrade"), ", ")
		return framing{kind: rawBody}, nil
	case res.Status < 200, res.Status == 204:
		dropFraming(res)
		return framing{}, nil
	}
	codings, lengths := res.Header.Values("transfer-encoding"), res.Header.Values("content-length")
	switch {
	case len(codings) > 0 && len(lengths) > 0:
		return framing{}, bad("Content-Length beside Transfer-Encoding")
	case len(codings) > 0 && old:
		return framing{}, bad("Transfer-Encoding in HTTP/1.0")
	}
	if err := checkCodings(codings); err != nil {
		return framing{}, err
	}
	length := int64(-1)
	for i, v := range lengths {
		n, ok := parseLength(v)
		if !ok || (i > 0 && n != length) {
			return framing{}, bad("Content-Length is no length")
		}
		length = n
	}
	if len(lengths) > 1 { // the same said twice (RFC 9110 §8.6)
		res.Header.Set("content-length", lengths[0])
	}
	switch {
	case req.Method == "HEAD", res.Status == 304, length == 0:
		return framing{}, nil
	case len(codings) > 0:
		return framing{kind: chunkedBody}, nil
	case length > 0:
		return framing{kind: fixedBody, length: length}, nil
	}
	return framing{kind: untilClose}, nil
}

func dropFraming(res *codec.Response) {
	remove(&res.Header, "content-length")
	remove(&res.Header, "transfer-encoding")
}
