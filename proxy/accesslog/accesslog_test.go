package accesslog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/format"
	"culvert/proxy/network"
	"culvert/test/leak"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/open_telemetry/v3" // a logger culvert has not
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

func TestMain(m *testing.M) { leak.Main(m) }

const typePrefix = `"@type": "type.googleapis.com/envoy.extensions.access_loggers.`

// parse reads an access_log list; stdout, stderr and file stand for their
// types.
func parse(t testing.TB, list string) []*accesslogv3.AccessLog {
	t.Helper()
	list = strings.NewReplacer(
		`"stdout"`, typePrefix+`stream.v3.StdoutAccessLog"`,
		`"stderr"`, typePrefix+`stream.v3.StderrAccessLog"`,
		`"file"`, typePrefix+`file.v3.FileAccessLog"`,
	).Replace(list)
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte(list), &raw); err != nil {
		t.Fatalf("%s: %v", list, err)
	}
	var out []*accesslogv3.AccessLog
	for _, r := range raw {
		m := new(accesslogv3.AccessLog)
		if err := protojson.Unmarshal(r, m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

func logger(t testing.TB, list string, s *Sinks) *Logger {
	t.Helper()
	l, err := New(parse(t, list), s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func tunnelled() *format.Context {
	info := network.NewStreamInfo(1)
	info.Start = time.Now().Add(-5 * time.Millisecond)
	info.Protocol, info.ResponseCode = "HTTP/2", 200
	info.Meter.Received(11)
	info.Meter.Sent(22)
	info.SetUpstream(&network.UpstreamInfo{Host: network.InternalAddress("inner", "7")})
	return &format.Context{
		Info:     info,
		Request:  &codec.Request{Proto: codec.HTTP2, Method: "CONNECT", Authority: "a.test:443", Header: codec.Fields{{Name: "user-agent", Value: "curl"}}},
		Response: &codec.Response{Status: 200},
		LogType:  DownstreamEnd,
	}
}

// once writes one record and returns what came out.
func once(t *testing.T, list string, c *format.Context) (stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	s := NewSinks(&out, &err)
	logger(t, list, s).Log(c)
	if e := s.Close(); e != nil {
		t.Fatal(e)
	}
	return out.String(), err.String()
}

// N07, N08: Envoy's line; a CONNECT has no path, and its authority has a port.
func TestN07N08DefaultFormat(t *testing.T) {
	c := tunnelled()
	c.Info.Start = time.Date(2026, 1, 31, 12, 34, 56, 789000000, time.UTC)
	c.Info.Mark(network.StepEnded)
	c.Info.Steps()[0].After = 1234 * time.Millisecond
	want := `[2026-01-31T12:34:56.789Z] "CONNECT - HTTP/2" 200 - 11 22 1234 - "-" "curl" "-" "a.test:443" "envoy://inner/7"` + "\n"
	for _, list := range []string{
		`[{"typed_config": {"stdout"}}]`,
		`[{"typed_config": {"file", "path": "/dev/stdout"}}]`,
		`[{"typed_config": {"file", "path": "/dev/../dev/stdout", "format": ""}}]`,
	} {
		if got, _ := once(t, list, c); got != want {
			t.Errorf("%s:\n got %swant %s", list, got, want)
		}
	}
	tcp := &format.Context{Info: network.NewStreamInfo(2)}
	tcp.Info.Start = c.Info.Start
	tcp.Info.Flags = network.FlagUF | network.FlagURX
	tcp.Info.Mark(network.StepEnded)
	tcp.Info.Steps()[0].After = 0
	want = `[2026-01-31T12:34:56.789Z] "- - -" 0 UF,URX 0 0 0 - "-" "-" "-" "-" "-"` + "\n"
	if got, _ := once(t, `[{"typed_config": {"stdout"}}]`, tcp); got != want {
		t.Errorf("\n got %swant %s", got, want)
	}
}

func TestFormats(t *testing.T) {
	for config, want := range map[string]string{
		`{"stdout", "log_format": {"text_format_source": {"inline_string": "%REQ(:authority)% %REQ(x)%\n"}}}`:                                       "a.test:443 -\n",
		`{"stdout", "log_format": {"text_format": "%REQ(x)%|\n", "omit_empty_values": true}}`:                                                       "|\n",
		`{"stdout", "log_format": {"json_format": {"code": "%RESPONSE_CODE%", "x": "%REQ(x)%"}}}`:                                                   `{"code":200,"x":null}` + "\n",
		`{"stdout", "log_format": {"json_format": {"x": "%REQ(x)%"}, "omit_empty_values": true, "json_format_options": {"sort_properties": true}}}`: "{}\n",
		`{"file", "path": "/dev/stdout", "format": "%ACCESS_LOG_TYPE%\n"}`:                                                                          "DownstreamEnd\n",
		`{"file", "path": "/dev/stdout", "json_format": {"p": "%PROTOCOL%"}}`:                                                                       `{"p":"HTTP/2"}` + "\n",
		`{"file", "path": "/dev/stdout", "typed_json_format": {"b": "%BYTES_SENT%"}}`:                                                               `{"b":22}` + "\n",
		`{"file", "path": "/dev/stdout", "log_format": {"text_format": "%BYTES_RECEIVED%"}}`:                                                        `11`,
	} {
		if got, _ := once(t, `[{"typed_config": `+config+`}]`, tunnelled()); got != want {
			t.Errorf("%s: %q, want %q", config, got, want)
		}
	}
	if out, err := once(t, `[{"typed_config": {"stderr", "log_format": {"text_format": "x"}}}]`, tunnelled()); out != "" || err != "x" {
		t.Errorf("stderr: %q, %q", out, err)
	}
}

// A peer's header cannot forge a line.
func TestNoInjection(t *testing.T) {
	for _, config := range []string{`{"stdout"}`, `{"stdout", "log_format": {"json_format": {"ua": "%REQ(user-agent)%"}}}`} {
		c := tunnelled()
		c.Request.Header.Set("user-agent", "a\"\r\n[2026-01-01T00:00:00.000Z] \"CONNECT - HTTP/2\" 200\x1b[2J\x00")
		got, _ := once(t, `[{"typed_config": `+config+`}]`, c)
		if strings.Count(got, "\n") != 1 || strings.ContainsAny(got, "\r\x1b\x00") {
			t.Errorf("%s: %q", config, got)
		}
	}
}

func TestFilters(t *testing.T) {
	compare := func(kind, op string, value int) string {
		return fmt.Sprintf(`{"%s": {"comparison": {"op": "%s", "value": {"default_value": %d, "runtime_key": "k"}}}}`, kind, op, value)
	}
	status := func(op string, v int) string { return compare("status_code_filter", op, v) }
	for filter, want := range map[string]bool{
		status("EQ", 200): true, status("EQ", 201): false, status("GE", 200): true, status("GE", 201): false,
		status("LE", 200): true, status("LE", 199): false, status("NE", 200): false, status("NE", 500): true,
		compare("duration_filter", "GE", 5): true, compare("duration_filter", "GE", 60000): false,
		compare("duration_filter", "LE", 60000):                                              true,
		`{"not_health_check_filter": {}}`:                                                    true,
		`{"and_filter": {"filters": [` + status("GE", 200) + `,` + status("LE", 299) + `]}}`: true,
		`{"and_filter": {"filters": [` + status("GE", 200) + `,` + status("LE", 199) + `]}}`: false,
		`{"or_filter": {"filters": [` + status("GE", 500) + `,` + status("LE", 299) + `]}}`:  true,
		`{"or_filter": {"filters": [` + status("GE", 500) + `,` + status("LE", 199) + `]}}`:  false,
		`{"response_flag_filter": {}}`:                                                       true,
		`{"response_flag_filter": {"flags": ["UF"]}}`:                                        true,
		`{"response_flag_filter": {"flags": ["NR", "UDO"]}}`:                                 false,
		`{"log_type_filter": {"types": ["DownstreamEnd"]}}`:                                  true,
		`{"log_type_filter": {"types": ["TcpConnectionEnd", "NotSet"]}}`:                     false,
		`{"log_type_filter": {"types": ["DownstreamEnd"], "exclude": true}}`:                 false,
	} {
		c := tunnelled()
		c.Info.Flags = network.FlagUF
		got, _ := once(t, `[{"filter": `+filter+`, "typed_config": {"stdout", "log_format": {"text_format": "x"}}}]`, c)
		if (got == "x") != want {
			t.Errorf("%s: %q", filter, got)
		}
	}
	c := tunnelled()
	if got, _ := once(t, `[{"filter": {"response_flag_filter": {}}, "typed_config": {"stdout"}}]`, c); got != "" {
		t.Errorf("no flags: %q", got)
	}
}

func TestConfigErrors(t *testing.T) {
	for list, want := range map[string][]string{
		`[{"name": "n"}]`: {`[0].typed_config: Didn't find a registered implementation for 'n' with type URL: ''`},
		`[{"typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]`: {`[0].typed_config: Didn't find a registered`},
		`[{"typed_config": {"stdout"}}, {"typed_config": {"stdout", "log_format": {"text_format": "%NOPE%"}}}]`: {
			`[1].typed_config.log_format.text_format: format "%NOPE%": operator %NOPE% at offset 0: unknown operator`},
		`[{"typed_config": {"file", "path": "/nonexistent/dir/log"}}]`:                                                                        {`[0].typed_config.path: open /nonexistent/dir/log`},
		`[{"typed_config": {"file", "path": "/dev/stdout", "format": "%"}}]`:                                                                  {`[0].typed_config.format: `},
		`[{"typed_config": {"file", "path": "/dev/stdout", "json_format": {"a": "%X%"}}}]`:                                                    {`[0].typed_config.json_format.a: `},
		`[{"filter": {}, "typed_config": {"stdout"}}]`:                                                                                        {`[0].filter: names no filter`},
		`[{"filter": {"traceable_filter": {}}, "typed_config": {"stdout", "log_format": {}}}]`:                                                {`[0].filter: this kind`, `[0].typed_config.log_format: names no format`},
		`[{"filter": {"or_filter": {"filters": [{"not_health_check_filter": {}}, {"grpc_status_filter": {}}]}}, "typed_config": {"stdout"}}]`: {`[0].filter.or_filter.filters[1]: this kind`},
		`[{"filter": {"response_flag_filter": {"flags": ["UF", "KITE"]}}, "typed_config": {"stdout"}}]`:                                       {`[0].filter.response_flag_filter.flags[1]: "KITE"`},
	} {
		s := NewSinks(io.Discard, io.Discard)
		_, err := New(parse(t, list), s)
		all := field.All(err)
		if len(all) != len(want) {
			t.Errorf("%s: %v", list, err)
			continue
		}
		for i := range want {
			if !strings.HasPrefix(all[i].Error(), want[i]) {
				t.Errorf("%s: %v, want %s", list, all[i], want[i])
			}
		}
	}
}

func TestNilLogger(t *testing.T) {
	l, err := New(nil, NewSinks(io.Discard, io.Discard))
	if l != nil || err != nil {
		t.Fatal(l, err)
	}
	l.Log(tunnelled())
}

// Every name that is declared is a field of its message.
func TestHonouredFieldsExist(t *testing.T) {
	for msg, fields := range Honoured() {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(msg))
		if err != nil {
			t.Errorf("%s: %v", msg, err)
			continue
		}
		for _, f := range strings.Fields(fields) {
			if d.(protoreflect.MessageDescriptor).Fields().ByName(protoreflect.Name(f)) == nil {
				t.Errorf("%s has no field %s", msg, f)
			}
		}
	}
}

func TestLogTypesAreEnvoys(t *testing.T) {
	for _, name := range []string{
		NotSet, TcpUpstreamConnected, TcpPeriodic, TcpConnectionStart, TcpConnectionEnd, DownstreamStart,
		DownstreamPeriodic, DownstreamEnd, UpstreamPoolReady, UpstreamPeriodic, UpstreamEnd,
		DownstreamTunnelSuccessfullyEstablished, UdpTunnelUpstreamConnected, UdpPeriodic, UdpSessionEnd,
	} {
		d, _ := protoregistry.GlobalTypes.FindEnumByName("envoy.data.accesslog.v3.AccessLogType")
		if d.Descriptor().Values().ByName(protoreflect.Name(name)) == nil {
			t.Errorf("Envoy has no %s", name)
		}
	}
}

func BenchmarkLog(b *testing.B) {
	s := NewSinks(io.Discard, io.Discard)
	l := logger(b, `[{"typed_config": {"stdout"}}]`, s)
	c := tunnelled()
	b.ReportAllocs()
	for b.Loop() {
		l.Log(c)
	}
	_ = s.Close()
}
