package accesslog

import (
	"culvert/configs/field"
	"culvert/proxy/format"
	"culvert/proxy/matcher"
)

// Honoured declares the fields New reads. A runtime_key finds nothing, there
// being no runtime layer, and its default_value holds.
func Honoured() field.Honoured {
	const log = "envoy.config.accesslog.v3."
	h := field.Honoured{
		log + "AccessLog": "name filter typed_config",
		log + "AccessLogFilter": "status_code_filter duration_filter not_health_check_filter and_filter or_filter " +
			"response_flag_filter log_type_filter header_filter runtime_filter",
		log + "HeaderFilter":                 "header",
		log + "RuntimeFilter":                "runtime_key percent_sampled use_independent_randomness",
		"envoy.type.v3.FractionalPercent":    "numerator denominator",
		log + "ComparisonFilter":             "op value",
		log + "StatusCodeFilter":             "comparison",
		log + "DurationFilter":               "comparison",
		log + "NotHealthCheckFilter":         "",
		log + "AndFilter":                    "filters",
		log + "OrFilter":                     "filters",
		log + "ResponseFlagFilter":           "flags",
		log + "LogTypeFilter":                "types exclude",
		"envoy.config.core.v3.RuntimeUInt32": "default_value runtime_key",

		"envoy.extensions.access_loggers.file.v3.FileAccessLog":     "path format json_format typed_json_format log_format",
		"envoy.extensions.access_loggers.stream.v3.StdoutAccessLog": "log_format",
		"envoy.extensions.access_loggers.stream.v3.StderrAccessLog": "log_format",
	}
	h.Merge(format.Honoured(), matcher.Honoured())
	return h
}
