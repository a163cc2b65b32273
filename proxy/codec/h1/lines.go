package h1

import "bytes"

// lineScanner finds the end of lines, of which each ends in CRLF and nothing
// else (RFC 9112 §2.2 lets a lone LF pass; a peer that does not would read
// another message).
type lineScanner struct {
	length int  // of the line so far, without what next has not seen
	last   byte // the byte before what next is given
}

// next looks for the end of the line that p goes on with. n is how much of p is
// used; length is the line's without its CRLF, -1 if it goes on behind p.
func (l *lineScanner) next(p []byte) (n, length int, err error) {
	at := bytes.IndexByte(p, '\n')
	if at < 0 {
		if len(p) > 0 {
			l.length += len(p)
			l.last = p[len(p)-1]
		}
		return len(p), -1, nil
	}
	before := l.last
	if at > 0 {
		before = p[at-1]
	}
	if before != '\r' {
		return 0, 0, bad("line ends in a bare LF")
	}
	length = l.length + at - 1
	*l = lineScanner{}
	return at + 1, length, nil
}

// block is a head or a trailer section on its way in.
type block struct {
	scan  lineScanner
	text  []byte // what came in earlier reads
	lines int    // whole lines so far
	blank int    // empty lines that may precede it
	begun bool   // something of it has come
	first int    // bound of the first line, bytes; 0: that of the whole
	max   int    // bound of the whole, bytes
	start string // what the first line begins with; empty: any token
}

// plausible judges the first bytes at once: a peer that speaks something else
// may never end a line.
func (b *block) plausible(p []byte) bool {
	if b.lines > 0 || b.first == 0 {
		return true
	}
	if b.start == "" {
		return len(b.text) > 0 || isTchar(p[0]) || p[0] == '\r' || p[0] == '\n'
	}
	at := min(len(b.text), len(b.start))
	due := b.start[at:]
	n := min(len(due), len(p))
	return string(p[:n]) == due[:n]
}

// add scans what came. done: the block is over after n bytes of p; else all of
// p belongs to it. again: what was scanned, up to n, was an empty line before
// it.
func (b *block) add(p []byte) (n int, done, again bool, err error) {
	if !b.plausible(p) {
		return 0, false, false, bad("message does not begin as HTTP/1 does")
	}
	for n < len(p) {
		used, length, err := b.scan.next(p[n:])
		if err != nil {
			return 0, false, false, err
		}
		n += used
		switch {
		case b.lines == 0 && b.first > 0 && max(length, b.scan.length) > b.first:
			return 0, false, false, badStatus(414, "request line is too long", "")
		case len(b.text)+n > b.max:
			return 0, false, false, badStatus(431, "head is too large", "request_headers_too_large")
		case length == 0 && b.lines == 0 && b.blank > 0:
			b.blank--
			return n, false, true, nil
		case length == 0:
			return n, true, false, nil
		case length > 0:
			b.lines++
		}
	}
	return n, false, false, nil
}

// readBlock reads lines up to an empty one and returns them with it. What came
// before an error is in b, for the next try. before is called ahead of each read
// that may wait; begun tells whether bytes of the block are there already.
func (s *source) readBlock(b *block, before func(begun bool) error) (string, error) {
	for {
		if before != nil && s.buffered() == 0 {
			if err := before(b.begun); err != nil {
				return "", err
			}
		}
		p, err := s.view()
		if err != nil {
			return "", err
		}
		n, done, again, err := b.add(p)
		b.begun = !again
		switch {
		case err != nil:
			return "", err
		case again:
			b.text = b.text[:0]
		case done && len(b.text) == 0:
			text := string(p[:n])
			s.advance(n)
			return text, nil
		default:
			b.text = append(b.text, p[:n]...)
		}
		s.advance(n)
		if done {
			return string(b.text), nil
		}
	}
}

// lineReader is a line on its way in.
type lineReader struct {
	scan lineScanner
	text []byte
	done bool // text is a line that was handed out
}

// readLine reads a line of at most limit bytes and returns it without its CRLF,
// valid until the next call. What came before an error is in l, for the next
// try.
func (s *source) readLine(l *lineReader, limit int) ([]byte, error) {
	if l.done {
		l.text, l.done = l.text[:0], false
	}
	for {
		p, err := s.view()
		if err != nil {
			return nil, err
		}
		n, length, err := l.scan.next(p)
		switch {
		case err != nil:
			return nil, err
		case max(length, l.scan.length-1) > limit: // less the CR that may be its last
			return nil, bad("line is too long")
		}
		// A copy even where the line is whole: it is short, and advance may
		// release what it is in.
		l.text = append(l.text, p[:n]...)
		s.advance(n)
		if length >= 0 {
			l.done = true
			return l.text[:length], nil
		}
	}
}

// isTchar reports whether c may be in a token (RFC 9110 §5.6.2).
func isTchar(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c != 0 && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0
}
