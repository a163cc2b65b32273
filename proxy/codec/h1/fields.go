package h1

import (
	"strconv"
	"strings"

	"culvert/proxy/codec"
)

// cutLine takes the first line of a block.
func cutLine(text string) (line, rest string) {
	line, rest, _ = strings.Cut(text, "\r\n")
	return line, rest
}

// parseFields reads field lines up to the empty one (RFC 9112 §5). Lines are
// kept as they came; what is around a value is not of it.
func (c *conn) parseFields(text string) (codec.Fields, error) {
	lines := strings.Count(text, "\n") - 1
	if lines > c.cfg.MaxHeaders {
		return nil, badStatus(431, "too many header fields", "too_many_headers")
	}
	if lines <= 0 {
		return nil, nil
	}
	fields := make(codec.Fields, 0, lines)
	for {
		var line string
		if line, text = cutLine(text); line == "" {
			return fields, nil
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		switch {
		case line[0] == ' ' || line[0] == '\t':
			return nil, bad("folded field line") // RFC 9112 §5.2
		case !ok:
			return nil, bad("field line without a colon")
		case !codec.ValidName(name):
			return nil, bad("invalid field name") // a space before the colon too
		case !codec.ValidValue(value):
			return nil, bad("invalid field value")
		}
		if c.cfg.Underscores != AllowUnderscores && strings.Contains(name, "_") {
			if c.cfg.Underscores == RejectUnderscores {
				c.stats.RejectedUnderscores.Inc()
				return nil, badStatus(400, "field name with an underscore", "http1.unexpected_underscore")
			}
			c.stats.DroppedUnderscores.Inc()
			continue
		}
		fields = append(fields, codec.Field{Name: name, Value: value})
	}
}

// count is how many lines of a field there are, and the value of the last.
func count(fields codec.Fields, name string) (n int, last string) {
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			n, last = n+1, f.Value
		}
	}
	return n, last
}

// remove drops a field in place: the lines are the caller's alone.
func remove(h *codec.Fields, name string) {
	out := (*h)[:0]
	for _, f := range *h {
		if !strings.EqualFold(f.Name, name) {
			out = append(out, f)
		}
	}
	*h = out
}

// hasToken reports whether a comma-separated list field has a token.
func hasToken(fields codec.Fields, name, token string) bool {
	for _, f := range fields {
		if !strings.EqualFold(f.Name, name) {
			continue
		}
		for item := range strings.SplitSeq(f.Value, ",") {
			if strings.EqualFold(strings.Trim(item, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// parseLength is a Content-Length value (RFC 9110 §8.6): digits only.
func parseLength(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false // 18 digits fit an int64
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// forbiddenTrailer reports whether a field may not be a trailer because it
// would frame or route the message (RFC 9110 §6.5.1).
func forbiddenTrailer(name string) bool {
	switch strings.ToLower(name) {
	case "content-length", "transfer-encoding", "host", "connection", "upgrade", "trailer", "te",
		"keep-alive", "proxy-connection":
		return true
	}
	return false
}
