package codec

import (
	"strconv"
	"strings"
)

// fieldLoop lists the proxies that passed a request on (RFC 8586), each adding
// itself at the end: "culvert; hops=1, culvert; hops=2". Unlike Via it makes no
// server answer differently.
const fieldLoop = "cdn-loop"

const (
	loopName = "culvert"
	loopHops = "hops"
)

// Hops is how often a request says it was passed on by a culvert: what the
// highest of them counted, or their number if somebody took the counts away.
// What is not ours, or malformed, counts nothing.
func Hops(h Fields) int {
	members, highest := 0, 0
	for _, f := range h {
		if !strings.EqualFold(f.Name, fieldLoop) {
			continue
		}
		for member := range listMembers(f.Value) {
			name, params, _ := strings.Cut(member, ";")
			if !strings.EqualFold(strings.Trim(name, " \t"), loopName) {
				continue
			}
			members++
			highest = max(highest, hopsParam(params))
		}
	}
	return max(members, highest)
}

// AddHop adds culvert to those that passed a request on; n counts this hop.
// What others have added stays as it is (RFC 8586 §2).
func AddHop(h *Fields, n int) {
	h.Add(fieldLoop, loopName+"; "+loopHops+"="+strconv.Itoa(n))
}

// listMembers are the members of a list field (RFC 9110 §5.6.1), commas in
// quoted strings among them.
func listMembers(value string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		start, quoted := 0, false
		for i := 0; i < len(value); i++ {
			switch c := value[i]; {
			case quoted && c == '\\':
				i++
			case c == '"':
				quoted = !quoted
			case c == ',' && !quoted:
				if !yield(value[start:i]) {
					return
				}
				start = i + 1
			}
		}
		yield(value[start:])
	}
}

// hopsParam is the count among a member's parameters, 0 if it has none.
func hopsParam(params string) int {
	for p := range strings.SplitSeq(params, ";") {
		name, value, ok := strings.Cut(p, "=")
		if !ok || !strings.EqualFold(strings.Trim(name, " \t"), loopHops) {
			continue
		}
		n, err := strconv.ParseUint(strings.Trim(value, " \t"), 10, 16)
		if err == nil {
			return int(n)
		}
	}
	return 0
}
