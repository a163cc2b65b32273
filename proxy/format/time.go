package format

import (
	"fmt"
	"maps"
	"strconv"
	"time"
)

// defaultTime is 2026-01-31T12:34:56.789Z.
const defaultTime = "%Y-%m-%dT%H:%M:%E3SZ"

func timeOperators() map[string]definition {
	start := func(c *Context) (time.Time, bool) { return c.Info.Start, true }
	now := func(*Context) (time.Time, bool) { return time.Now(), true }
	out := map[string]definition{
		"START_TIME":       timeOperator(start, time.UTC, defaultTime),
		"START_TIME_LOCAL": timeOperator(start, time.Local, defaultTime),
		"EMIT_TIME":        timeOperator(now, time.UTC, defaultTime),
		"EMIT_TIME_LOCAL":  timeOperator(now, time.Local, defaultTime),
	}
	maps.Copy(out, durationOperators())
	return out
}

// timeOperator defines an operator whose parameter is a time format.
func timeOperator(get func(c *Context) (time.Time, bool), zone *time.Location, format string) definition {
	return definition{rule: mayParam, build: func(param string) (operator, string) {
		if param == "" {
			param = format
		}
		parts, problem := compileTime(param)
		return operator{value: func(dst []byte, c *Context) ([]byte, bool) {
			t, ok := get(c)
			if !ok || t.IsZero() {
				return dst, false
			}
			return appendTime(dst, t.In(zone), parts), true
		}}, problem
	}}
}

// timePart is one conversion of a time format, or the text between two.
type timePart struct {
	kind   timeKind
	text   string // text, or a layout of package time
	digits int    // of a fraction; fullFraction for all that are not zero
}

type timeKind uint8

const (
	timeText timeKind = iota
	timeLayout
	timeEpoch    // seconds since 1970
	timeFraction // of a second, digits
	timeSeconds  // with fraction
)

const fullFraction = -1

func appendTime(dst []byte, t time.Time, parts []timePart) []byte {
	for i := range parts {
		switch p := &parts[i]; p.kind {
		case timeText:
			dst = append(dst, p.text...)
		case timeLayout:
			dst = t.AppendFormat(dst, p.text)
		case timeEpoch:
			dst = strconv.AppendInt(dst, t.Unix(), 10)
		case timeFraction:
			dst = appendFraction(dst, t.Nanosecond(), p.digits)
		case timeSeconds:
			dst = t.AppendFormat(dst, "05")
			start := len(dst)
			dst = append(dst, '.')
			if dst = appendFraction(dst, t.Nanosecond(), p.digits); len(dst) == start+1 {
				dst = dst[:start] // a full fraction of zero has no point
			}
		}
	}
	return dst
}

func appendFraction(dst []byte, ns, digits int) []byte {
	var all [9]byte
	for i := len(all) - 1; i >= 0; i-- {
		all[i] = byte('0' + ns%10)
		ns /= 10
	}
	if digits != fullFraction {
		return append(dst, all[:digits]...)
	}
	n := len(all)
	for n > 0 && all[n-1] == '0' {
		n--
	}
	return append(dst, all[:n]...)
}

// compileTime reads a time format: strftime's conversions, %s (seconds since
// the epoch), %f and %1f to %9f (digits of the fraction), and absl's %E3S,
// %E*S, %E3f, %E*f, %Ez, %E4Y.
func compileTime(s string) (parts []timePart, problem string) {
	addText := func(t string) {
		if n := len(parts); n > 0 && parts[n-1].kind == timeText {
			parts[n-1].text += t
			return
		}
		parts = append(parts, timePart{kind: timeText, text: t})
	}
	for i := 0; i < len(s); {
		if s[i] != '%' {
			addText(s[i : i+1])
			i++
			continue
		}
		if t, ok := literalConversion(s[i:]); ok {
			addText(t)
			i += 2
			continue
		}
		p, size := conversion(s[i+1:])
		if size == 0 {
			return nil, fmt.Sprintf("time format %q: unknown conversion at offset %d", s, i)
		}
		parts = append(parts, p)
		i += 1 + size
	}
	return parts, ""
}

func literalConversion(s string) (string, bool) {
	if len(s) < 2 {
		return "", false
	}
	switch s[1] {
	case '%':
		return "%", true
	case 'n':
		return "\n", true
	case 't':
		return "\t", true
	}
	return "", false
}

// conversion reads what follows a percent sign; size 0 if it is none.
func conversion(s string) (p timePart, size int) {
	switch {
	case s == "":
		return p, 0
	case s[0] == 'E':
		return extended(s)
	case s[0] == 's':
		return timePart{kind: timeEpoch}, 1
	case s[0] == 'f':
		return timePart{kind: timeFraction, digits: 9}, 1
	case '1' <= s[0] && s[0] <= '9' && len(s) > 1 && s[1] == 'f':
		return timePart{kind: timeFraction, digits: int(s[0] - '0')}, 2
	}
	if layout := layoutOf(s[0]); layout != "" {
		return timePart{kind: timeLayout, text: layout}, 1
	}
	return p, 0
}

// extended reads absl's E conversions.
func extended(s string) (p timePart, size int) {
	switch {
	case len(s) >= 2 && s[1] == 'z':
		return timePart{kind: timeLayout, text: "-07:00"}, 2
	case len(s) >= 3 && s[1:3] == "4Y":
		return timePart{kind: timeLayout, text: "2006"}, 3
	case len(s) < 3:
		return p, 0
	}
	switch {
	case s[1] == '*':
		p.digits = fullFraction
	case '1' <= s[1] && s[1] <= '9':
		p.digits = int(s[1] - '0')
	default:
		return p, 0
	}
	switch s[2] {
	case 'S':
		p.kind = timeSeconds
	case 'f':
		p.kind = timeFraction
	default:
		return p, 0
	}
	return p, 3
}

// layoutOf is the layout of package time for a conversion of strftime.
func layoutOf(c byte) string {
	return map[byte]string{
		'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'j': "002",
		'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM",
		'b': "Jan", 'h': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday",
		'z': "-0700", 'Z': "MST", 'T': "15:04:05", 'R': "15:04", 'F': "2006-01-02",
		'D': "01/02/06", 'x': "01/02/06", 'X': "15:04:05", 'r': "03:04:05 PM",
		'c': "Mon Jan _2 15:04:05 2006",
	}[c]
}
