package matcher

import "culvert/configs/field"

// Honoured declares the fields this package reads.
func Honoured() field.Honoured {
	return field.Honoured{
		"envoy.config.route.v3.HeaderMatcher": "name exact_match safe_regex_match range_match present_match " +
			"prefix_match suffix_match contains_match string_match invert_match treat_missing_header_as_empty",
		"envoy.type.matcher.v3.StringMatcher":          "exact prefix suffix contains safe_regex ignore_case",
		"envoy.type.matcher.v3.RegexMatcher":           "google_re2 regex",
		"envoy.type.matcher.v3.RegexMatcher.GoogleRE2": "",
		"envoy.type.v3.Int64Range":                     "start end",
	}
}
