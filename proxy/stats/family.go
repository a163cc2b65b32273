package stats

import "strings"

// takeOut removes value, a whole dotted part of prefix, from it: "cluster.a.b."
// without "a.b" is "cluster.". A prefix without it stays.
func takeOut(prefix, value string) string {
	if value == "" {
		return prefix
	}
	part := value + "."
	for from := 0; ; {
		i := strings.Index(prefix[from:], part)
		if i < 0 {
			return prefix
		}
		i += from
		if i == 0 || prefix[i-1] == '.' {
			return prefix[:i] + prefix[i+len(part):]
		}
		from = i + 1
	}
}

// describe is the Prometheus family and the tags of a metric of the scope.
// Response codes are the one tag Envoy finds in the last part of a name.
func (s *Scope) describe(name string) (family string, tags []Tag) {
	name, code := takeOutCode(name)
	family = s.family + name
	if code.Name == "" {
		return family, s.tags
	}
	return family, append(append([]Tag(nil), s.tags...), code)
}

// takeOutCode splits upstream_rq_2xx into upstream_rq_xx and the class 2, and
// upstream_rq_200 into upstream_rq and the code 200.
func takeOutCode(name string) (string, Tag) {
	i := strings.LastIndex(name, "_rq_")
	if i < 0 || len(name) != i+len("_rq_")+3 {
		return name, Tag{}
	}
	code := name[i+len("_rq_"):]
	switch {
	case isDigit(code[0]) && code[1:] == "xx":
		return name[:i] + "_rq_xx", Tag{"envoy_response_code_class", code[:1]}
	case isDigit(code[0]) && isDigit(code[1]) && isDigit(code[2]):
		return name[:i] + "_rq", Tag{"envoy_response_code", code}
	}
	return name, Tag{}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
