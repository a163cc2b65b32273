package format

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// escape rewrites dst[start:] so that it cannot end or forge a line of text, a
// quoted part of it, or what a terminal shows of it. The usual value needs
// nothing and is only looked through.
func escape(dst []byte, start int) []byte {
	i := start
	for i < len(dst) && isHarmless(dst[i]) {
		i++
	}
	if i == len(dst) {
		return dst
	}
	rest := string(dst[i:])
	dst = dst[:i]
	for len(rest) > 0 {
		r, size := utf8.DecodeRuneInString(rest)
		dst = appendEscaped(dst, rest[:size], r)
		rest = rest[size:]
	}
	return dst
}

func isHarmless(c byte) bool {
	return ' ' <= c && c < 0x7f && c != '"' && c != '\\'
}

func appendEscaped(dst []byte, s string, r rune) []byte {
	switch {
	case r == '"', r == '\\':
		return append(dst, '\\', byte(r))
	case r == '\n':
		return append(dst, `\n`...)
	case r == '\r':
		return append(dst, `\r`...)
	case r == '\t':
		return append(dst, `\t`...)
	case r == utf8.RuneError && len(s) == 1, r < ' ', r == 0x7f:
		return fmt.Appendf(dst, `\x%02x`, s[0])
	case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
		return fmt.Appendf(dst, `\u%04x`, r)
	}
	return append(dst, s...)
}

// appendQuoted appends what print appends as a JSON string; nothing if print
// has no value.
func appendQuoted(dst []byte, print func(dst []byte) ([]byte, bool)) ([]byte, bool) {
	start := len(dst)
	dst = append(dst, '"')
	dst, ok := print(dst)
	if !ok {
		return dst[:start], false
	}
	i := start + 1
	for i < len(dst) && isHarmless(dst[i]) {
		i++
	}
	if i < len(dst) {
		rest := string(dst[i:])
		dst = appendStringBody(dst[:i], rest)
	}
	return append(dst, '"'), true
}

func appendString(dst []byte, s string) []byte {
	return append(appendStringBody(append(dst, '"'), s), '"')
}

// appendStringBody appends s with what JSON needs escaped (RFC 8259 §7), and
// other control characters too.
func appendStringBody(dst []byte, s string) []byte {
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == '"', r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == utf8.RuneError && size == 1:
			dst = append(dst, `\ufffd`...)
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = append(dst, s[:size]...)
		}
		s = s[size:]
	}
	return dst
}
