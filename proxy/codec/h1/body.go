package h1

import (
	"errors"
	"io"
	"os"
	"strconv"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// bodyKind is how a message body is delimited (RFC 9112 §6.3).
type bodyKind uint8

const (
	noBody bodyKind = iota
	fixedBody
	chunkedBody
	untilClose // by the end of the connection's direction
	rawBody    // a tunnel's payload: until the end of the direction
)

// framing is a body's delimiter. length is that of a fixed body.
type framing struct {
	kind   bodyKind
	length int64
}

// chunkState is where in a chunked body the reader is.
type chunkState uint8

const (
	atSize     chunkState = iota // before a chunk-size line
	inData                       // left bytes of data are due
	atDataEnd                    // before the CRLF behind the data
	atTrailers                   // behind the last chunk
	atEnd
)

// body reads a message body off the source. It belongs to the reader. A missed
// deadline leaves it where it was.
type body struct {
	c    *conn
	kind bodyKind
	// left is what is due of a fixed body, or of the chunk.
	left int64

	state      chunkState
	extensions int // bytes of chunk extensions so far
	line       lineReader
	section    block // the trailer section
	trailers   codec.Fields
	end        error // io.EOF, or why there is no more
}

func (b *body) start(c *conn, f framing) {
	*b = body{c: c, kind: f.kind, left: f.length, section: block{max: c.cfg.MaxHeadBytes}}
}

// over reports that the message has ended as its framing says, though nobody
// may have read the EOF yet.
func (b *body) over() bool {
	return b.kind == noBody || (b.kind == fixedBody && b.left == 0) || errors.Is(b.end, io.EOF)
}

// next waits until body bytes are at the front of the source and returns how
// many are; io.EOF at the end of the body. Errors but a missed deadline stay.
func (b *body) next() (int, error) {
	if b.end != nil {
		return 0, b.end
	}
	n, err := b.due()
	if err == nil && n > 0 {
		var p []byte
		if p, err = b.c.in.view(); err == nil {
			return int(min(n, int64(len(p)))), nil
		}
	}
	switch {
	case err == nil:
		err = io.EOF // nothing is due
	case errors.Is(err, io.EOF) && b.kind != untilClose && b.kind != rawBody:
		err = lost(ErrTruncated)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		b.end = err
	}
	return 0, err
}

// unbounded is what is due of a body that the connection's end delimits.
const unbounded = 1<<63 - 1

// due is how many bytes of the body follow; 0 at its end.
func (b *body) due() (int64, error) {
	switch b.kind {
	case noBody:
		return 0, nil
	case chunkedBody:
		for b.state != inData && b.state != atEnd {
			if err := b.step(); err != nil {
				return 0, err
			}
		}
		return b.left, nil
	case fixedBody:
		return b.left, nil
	}
	return unbounded, nil
}

// took notes that n bytes were taken off the source.
func (b *body) took(n int) {
	if b.kind != fixedBody && b.kind != chunkedBody {
		return
	}
	if b.left -= int64(n); b.left == 0 && b.state == inData {
		b.state = atDataEnd
	}
}

// step reads what is between the data of two chunks.
func (b *body) step() error {
	switch b.state {
	case atDataEnd:
		line, err := b.c.in.readLine(&b.line, 0)
		if errors.As(err, new(*MessageError)) || (err == nil && len(line) > 0) {
			return bad("chunk is longer than its size")
		}
		if err == nil {
			b.state = atSize
		}
		return err
	case atSize:
		return b.readSize()
	}
	var err error
	if b.trailers, err = b.readTrailers(); err == nil {
		b.state = atEnd
	}
	return err
}

func (b *body) readSize() error {
	line, err := b.c.in.readLine(&b.line, maxChunkLine)
	if err != nil {
		return err
	}
	size, extension, err := parseChunkLine(line)
	if err != nil {
		return err
	}
	if b.extensions += extension; b.extensions > maxExtensions {
		return bad("too many chunk extensions")
	}
	b.left, b.state = size, inData
	if size == 0 {
		b.state = atTrailers
	}
	return nil
}

// parseChunkLine reads chunk-size and skips chunk extensions (RFC 9112 §7.1).
// extension is the length of what is skipped.
func parseChunkLine(line []byte) (size int64, extension int, err error) {
	digits := 0
	for digits < len(line) && isHex(line[digits]) {
		digits++
	}
	if digits == 0 || digits > 15 {
		return 0, 0, bad("invalid chunk size")
	}
	size, err = strconv.ParseInt(string(line[:digits]), 16, 64)
	if err != nil {
		return 0, 0, bad("invalid chunk size")
	}
	rest := line[digits:]
	if len(rest) > 0 && rest[0] != ';' { // the blank RFC 9112 lets pass, too
		return 0, 0, bad("invalid chunk size")
	}
	for _, c := range rest {
		if (c < ' ' && c != '\t') || c == 0x7f {
			return 0, 0, bad("invalid chunk extension")
		}
	}
	return size, len(rest), nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// readTrailers reads the trailer section with the empty line behind it.
func (b *body) readTrailers() (codec.Fields, error) {
	text, err := b.c.in.readBlock(&b.section, nil)
	if err != nil {
		return nil, err
	}
	trailers, err := b.c.parseFields(text)
	if err != nil {
		return nil, err
	}
	if len(trailers) > 0 {
		b.c.in.tookHeader(len(text))
	}
	for _, f := range trailers {
		if forbiddenTrailer(f.Name) {
			return nil, bad("trailer that frames or routes the message")
		}
	}
	return trailers, nil
}

// read copies what is there into p.
func (b *body) read(p []byte) (int, error) {
	n, err := b.next()
	if err != nil {
		return 0, err
	}
	view, err := b.c.in.view()
	if err != nil {
		return 0, err
	}
	n = copy(p, view[:n])
	b.c.in.advance(n)
	b.took(n)
	return n, nil
}

// readChunk is what is there as a chunk that is the caller's.
func (b *body) readChunk() (*network.Chunk, error) {
	n, err := b.next()
	if err != nil {
		return nil, err
	}
	c := b.c.in.take(n)
	b.took(len(c.Data))
	return c, nil
}
