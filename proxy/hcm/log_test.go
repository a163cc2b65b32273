package hcm

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"

	"culvert/proxy/accesslog"
	"culvert/proxy/codec"
	"culvert/proxy/httpfilter/router"
	"culvert/proxy/network"
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

const stdoutLog = `access_log: [{name: out, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog%}}]`

// logged is a bench whose log is read by lines, which ends it.
func logged(t *testing.T, text string, c router.Cluster) (*bench, func() []string) {
	t.Helper()
	out := &buffer{}
	sinks := accesslog.NewSinks(out, io.Discard)
	d := deps(t, c, nil)
	d.AccessLog = sinks
	h, err := New(manager(t, text), d)
	if err != nil {
		t.Fatal(err)
	}
	info := network.NewStreamInfo(d.Flows.NextID())
	b := &bench{t: t, hcm: h, store: d.Stats, flows: d.Flows, conn: &connection{hcm: h, life: t.Context(), version: h.counts.version(codec.HTTP2), info: info}}
	return b, func() []string {
		if err := sinks.Close(); err != nil {
			t.Error(err)
		}
		return strings.Split(strings.TrimSuffix(out.b.String(), "\n"), "\n")
	}
}

func TestN07N08DefaultFormat(t *testing.T) {
	c, far := origin()
	b, lines := logged(t, with(terminateRoute+","+directRoute, "generate_request_id: false\n"+strings.Replace(stdoutLog, "%", "", 1)), c)
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
	got := lines()
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
	b, lines := logged(t, with(terminateRoute, text), c)
	client := b.send(connect())
	head(t, client)
	client.Reset(codec.CodeCancel, nil)
	b.wait()
	want := []string{
		"DownstreamStart 0 - -",
		"DownstreamTunnelSuccessfullyEstablished 200 via_upstream -",
		"DownstreamEnd 200 downstream_remote_disconnect DC",
	}
	if got := lines(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
