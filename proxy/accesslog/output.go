package accesslog

import (
	"culvert/configs/field"
	"culvert/proxy/format"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// DefaultFormat is what is written where the configuration names no format.
const DefaultFormat = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" ` +
	`%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ` +
	`%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" ` +
	`"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"` + "\n"

// newOutput compiles a typed_config: what to write and where. Errors are
// relative to it.
func newOutput(m *accesslogv3.AccessLog, sinks *Sinks) (*format.Substitution, *sink, error) {
	if m.GetTypedConfig() == nil {
		return nil, nil, unknown(m)
	}
	config, err := m.GetTypedConfig().UnmarshalNew()
	if err != nil {
		return nil, nil, err
	}
	switch config := config.(type) {
	case *filev3.FileAccessLog:
		line, err := fileFormat(config)
		if err != nil {
			return nil, nil, err
		}
		s, err := sinks.open(config.GetPath())
		return line, s, field.At("path", err)
	case *streamv3.StdoutAccessLog:
		line, err := logFormat(config.GetLogFormat())
		return line, sinks.stdout, err
	case *streamv3.StderrAccessLog:
		line, err := logFormat(config.GetLogFormat())
		return line, sinks.stderr, err
	}
	return nil, nil, unknown(m)
}

// unknown is Envoy's error for an extension that is not there.
func unknown(m *accesslogv3.AccessLog) error {
	return field.WithFix(field.Errorf("", "Didn't find a registered implementation for '%s' with type URL: '%s'",
		m.GetName(), m.GetTypedConfig().GetTypeUrl()), "access logs are file, stdout and stderr")
}

func logFormat(m *corev3.SubstitutionFormatString) (*format.Substitution, error) {
	if m == nil {
		return textFormat("log_format", DefaultFormat)
	}
	s, err := format.NewSubstitution(m)
	return s, field.At("log_format", err)
}

// fileFormat reads the format of a file log, which has older fields too. An
// empty format is the default, as in Envoy.
func fileFormat(m *filev3.FileAccessLog) (*format.Substitution, error) {
	switch f := m.GetAccessLogFormat().(type) {
	case *filev3.FileAccessLog_Format:
		if f.Format != "" {
			return textFormat("format", f.Format)
		}
	case *filev3.FileAccessLog_JsonFormat:
		return jsonFormat("json_format", f.JsonFormat)
	case *filev3.FileAccessLog_TypedJsonFormat:
		return jsonFormat("typed_json_format", f.TypedJsonFormat)
	case *filev3.FileAccessLog_LogFormat:
		return logFormat(f.LogFormat)
	}
	return textFormat("format", DefaultFormat)
}

func textFormat(path, s string) (*format.Substitution, error) {
	f, err := format.Compile(s)
	return format.TextSubstitution(f), field.At(path, err)
}

func jsonFormat(path string, s *structpb.Struct) (*format.Substitution, error) {
	j, err := format.CompileJSON(s, format.Options{})
	return format.JSONSubstitution(j), field.At(path, err)
}
