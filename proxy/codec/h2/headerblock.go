package h2

import (
	"strings"

	"culvert/proxy/codec"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// maxContinuations bounds the CONTINUATION frames of one header block
// (CVE-2024-27919, CVE-2023-45288).
const maxContinuations = 16

// headerBlock is a header block on its way in (RFC 9113 §4.3). It belongs to
// the reading goroutine.
type headerBlock struct {
	open      bool // CONTINUATION must follow
	id        uint32
	endStream bool
	frames    int
	wire      int // bytes of its frames so far
	buf       []byte
}

// maxBlock bounds a header block before HPACK is decoded, bytes: Huffman code
// makes no honest field longer than twice itself.
func (c *conn) maxBlock() int { return 2 * c.cfg.MaxHeaderListSize }

// readHeaders takes a HEADERS frame (RFC 9113 §6.2).
func (c *conn) readHeaders(h frameHeader) error {
	endStream := h.flags&http2.FlagHeadersEndStream != 0
	if err := c.emptyFrame(h, endStream); err != nil {
		return err
	}
	if h.id == 0 || h.id%2 == 0 {
		return connError(http2.ErrCodeProtocol, "HEADERS on a stream that cannot be")
	}
	if h.length > c.maxBlock() {
		c.stats.HeaderOverflow.Inc()
		return connError(http2.ErrCodeEnhanceYourCalm, "header block is too long")
	}
	p, err := c.src.take(h.length)
	if err != nil {
		return err
	}
	p, dependsOn, err := headersFragment(h, p)
	if err != nil {
		return err
	}
	c.block.id, c.block.endStream, c.block.wire = h.id, endStream, frameHeaderLen+h.length
	if h.flags&http2.FlagHeadersEndHeaders == 0 {
		c.block.open, c.block.frames = true, 0
		c.block.buf = append(c.block.buf[:0], p...)
		c.headBegun(h.id)
		return nil
	}
	list, err := c.decode(p)
	if err != nil {
		return err
	}
	if dependsOn == h.id {
		return c.refuseHeaders(streamError(h.id, http2.ErrCodeProtocol, "stream depends on itself"))
	}
	return c.headersDone(list)
}

// headersFragment strips padding and priority from a HEADERS payload.
func headersFragment(h frameHeader, p []byte) (fragment []byte, dependsOn uint32, err error) {
	pad := 0
	if h.flags&http2.FlagHeadersPadded != 0 {
		if len(p) == 0 {
			return nil, 0, connError(http2.ErrCodeFrameSize, "padded frame without a pad length")
		}
		pad, p = int(p[0]), p[1:]
	}
	if h.flags&http2.FlagHeadersPriority != 0 {
		if len(p) < 5 {
			return nil, 0, connError(http2.ErrCodeFrameSize, "HEADERS too short for its priority")
		}
		dependsOn = (uint32(p[0])<<24 | uint32(p[1])<<16 | uint32(p[2])<<8 | uint32(p[3])) &^ (1 << 31)
		p = p[5:]
	}
	if pad > len(p) {
		return nil, 0, connError(http2.ErrCodeProtocol, "padding is longer than its frame")
	}
	return p[:len(p)-pad], dependsOn, nil
}

// readContinuation takes a CONTINUATION frame (RFC 9113 §6.10).
func (c *conn) readContinuation(h frameHeader) error {
	if !c.block.open {
		return connError(http2.ErrCodeProtocol, "CONTINUATION without HEADERS")
	}
	end := h.flags&http2.FlagContinuationEndHeaders != 0
	if err := c.emptyFrame(h, false); err != nil {
		return err
	}
	c.block.frames++
	if c.block.frames > maxContinuations || len(c.block.buf)+h.length > c.maxBlock() {
		c.stats.HeaderOverflow.Inc()
		return connError(http2.ErrCodeEnhanceYourCalm, "header block is too long")
	}
	p, err := c.src.take(h.length)
	if err != nil {
		return err
	}
	c.block.buf = append(c.block.buf, p...)
	c.block.wire += frameHeaderLen + h.length
	if !end {
		return nil
	}
	block := c.block.buf
	c.block.open, c.block.buf = false, nil
	c.headWhole()
	list, err := c.decode(block)
	if err != nil {
		return err
	}
	return c.headersDone(list)
}

// blockArrivedLocked charges the stream with the block that has come for it.
func (st *stream) blockArrivedLocked() {
	st.wire.Received(st.c.block.wire)
	st.wire.HeaderReceived(st.c.block.wire)
}

// headerList is a decoded header block, as far as it was in order and within
// limits.
type headerList struct {
	pseudo, fields codec.Fields
	cookies        []string
	size, lines    int
	over           bool   // beyond the limits: what follows was not kept
	malformed      string // the first rule it breaks (RFC 9113 §8.2); empty: none
}

// decode decodes a block. It is decoded to its end whatever it holds, since the
// HPACK state is the whole connection's.
func (c *conn) decode(block []byte) (*headerList, error) {
	l := &headerList{}
	c.dec.SetEmitEnabled(true)
	c.dec.SetEmitFunc(func(f hpack.HeaderField) {
		// Everything counts: cookies, duplicates, what is dropped later
		// (CVE-2026-47774).
		l.lines++
		l.size += int(f.Size())
		if l.size > c.cfg.MaxHeaderListSize || l.lines > c.cfg.MaxHeaders {
			l.over = true
			c.dec.SetEmitEnabled(false)
			return
		}
		l.add(f.Name, f.Value)
	})
	_, err := c.dec.Write(block)
	if err == nil {
		err = c.dec.Close()
	}
	if err != nil {
		return nil, connError(http2.ErrCodeCompression, "header block does not decode")
	}
	if len(l.cookies) > 0 {
		l.fields.Add("cookie", strings.Join(l.cookies, "; ")) // RFC 9113 §8.2.3
	}
	if l.over {
		c.stats.HeaderOverflow.Inc()
	}
	return l, nil
}

func (l *headerList) add(name, value string) {
	switch {
	case l.malformed != "":
	case strings.HasPrefix(name, ":"):
		switch {
		case len(l.fields)+len(l.cookies) > 0:
			l.malformed = "pseudo-header after a field"
		case l.pseudo.Has(name):
			l.malformed = "pseudo-header twice"
		case !codec.ValidValue(value):
			l.malformed = "invalid pseudo-header value"
		default:
			l.pseudo.Add(name, value)
		}
	default:
		if l.malformed = fieldProblem(name, value); l.malformed != "" {
			return
		}
		if name == "cookie" {
			l.cookies = append(l.cookies, value)
		} else {
			l.fields.Add(name, value)
		}
	}
}

// fieldProblem is the rule of RFC 9113 §8.2 a field breaks, empty if none.
func fieldProblem(name, value string) string {
	switch {
	case !codec.ValidName(name) || strings.ToLower(name) != name:
		return "invalid field name"
	case !codec.ValidValue(value):
		return "invalid field value"
	case connectionSpecific(name):
		return "connection-specific field"
	case name == "te" && !strings.EqualFold(value, "trailers"):
		return "te other than trailers"
	}
	return ""
}

// connectionSpecific reports the fields HTTP/2 does without (RFC 9113 §8.2.2).
func connectionSpecific(name string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return true
	}
	return false
}
