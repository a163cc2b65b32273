package hcm

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
	"testing"

	"culvert/proxy/codec"
)

// buffer is written to by a sink.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

const stdoutLog = `access_log: [{name: out, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog%}}]`

// records ends the access log and reads its lines.
func (b *bench) records() []string {
	b.t.Helper()
	if err := b.sinks.Close(); err != nil {
		b.t.Error(err)
	}
	return strings.Split(strings.TrimSuffix(b.out.String(), "\n"), "\n")
}

func TestN07N08DefaultFormat(t *testing.T) {
	c, far := origin()
	b := newBench(t, with(terminateRoute+","+directRoute, "generate_request_id: false\n"+strings.Replace(stdoutLog, "%", "", 1)), c, nil)
	client := b.send(connect())
	head(t, client)
	mustWrite(t, client, "12345")
	mustRead(t, far, "12345")
	mustWrite(t, far, "123456")
	mustRead(t, client, "123456")
	_ = client.CloseWrite()
	_ = far.CloseWrite()
	b.wait()
	b.ask(get("/p?q=1"))
	b.wait()
	b.ask(&codec.Request{Method: "CONNECT", EndStream: true})
	b.wait()
	want := []string{
		`\[[-0-9T:.Z]+\] "CONNECT - HTTP/2" 200 - 5 6 \d+ - "-" "-" "-" "foo.lyft.com:80" "-"`,
		`\[[-0-9T:.Z]+\] "GET /p\?q=1 HTTP/2" 200 - 0 5 \d+ - "-" "-" "-" "foo.com" "-"`,
		`\[[-0-9T:.Z]+\] "CONNECT - HTTP/2" 400 - 0 0 \d+ - "-" "-" "-" "-" "-"`,
	}
	got := b.records()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !regexp.MustCompile("^" + want[i] + "$").MatchString(got[i]) {
			t.Errorf("record %q\nwant   %s", got[i], want[i])
		}
	}
}

func TestE05RecordWhenTheTunnelIsUp(t *testing.T) {
	const format = `, log_format: {text_format_source: {inline_string: "%ACCESS_LOG_TYPE% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS%\n"}}`
	text := strings.Replace(stdoutLog, "%", format, 1) +
		"\naccess_log_options: {flush_access_log_on_new_request: true, flush_log_on_tunnel_successfully_established: true}"
	c, _ := origin()
	b := newBench(t, with(terminateRoute, text), c, nil)
	client := b.send(connect())
	head(t, client)
	client.Reset(codec.CodeCancel, nil)
	b.wait()
	want := []string{
		"DownstreamStart 0 - -",
		"DownstreamTunnelSuccessfullyEstablished 200 via_upstream -",
		"DownstreamEnd 200 downstream_remote_disconnect DC",
	}
	if got := b.records(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
