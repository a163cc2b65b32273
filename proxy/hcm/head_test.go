package hcm

import (
	"net/netip"
	"regexp"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/httpfilter/streamtest"
	"culvert/proxy/network"
)

// echoHead is an upstream that tells what it got, and answers with fields of
// its own.
func echoHead(heads chan *codec.Request, fields ...codec.Field) fakeCluster {
	return upstream(func(s *streamtest.Server) {
		heads <- s.Request()
		_ = s.WriteResponse(&codec.Response{Status: 200, Header: fields, EndStream: true})
	})
}

func TestRequestFields(t *testing.T) {
	for _, c := range []struct {
		name, more string
		sent       codec.Fields
		secure     bool
		field      string
		want       string // regular expression; empty: absent
	}{
		{"request id is generated", "", nil, false, "x-request-id", `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`},
		{"request id is kept", "", codec.Fields{{Name: "x-request-id", Value: "mine"}}, false, "x-request-id", "mine"},
		{"request id at the edge", "use_remote_address: true", codec.Fields{{Name: "x-request-id", Value: "mine"}}, false, "x-request-id", `[0-9a-f-]{36}`},
		{"request id preserved", "use_remote_address: true\npreserve_external_request_id: true",
			codec.Fields{{Name: "x-request-id", Value: "mine"}}, false, "x-request-id", "mine"},
		{"request id off", "generate_request_id: false", nil, false, "x-request-id", ""},
		{"forwarded proto", "", nil, false, "x-forwarded-proto", "http"},
		{"forwarded proto of TLS", "", nil, true, "x-forwarded-proto", "https"},
		{"forwarded proto is kept", "", codec.Fields{{Name: "x-forwarded-proto", Value: "https"}}, false, "x-forwarded-proto", "https"},
		{"forwarded proto at the edge", "use_remote_address: true", codec.Fields{{Name: "x-forwarded-proto", Value: "https"}}, false, "x-forwarded-proto", "http"},
		{"no forwarded-for", "", nil, false, "x-forwarded-for", ""},
		{"forwarded-for at the edge", "use_remote_address: true", nil, false, "x-forwarded-for", "192.0.2.9"},
		{"forwarded-for is appended", "use_remote_address: true", codec.Fields{{Name: "x-forwarded-for", Value: "203.0.113.1"}}, false,
			"x-forwarded-for", "203.0.113.1, 192.0.2.9"},
		{"forwarded-for off", "use_remote_address: true\nskip_xff_append: true", nil, false, "x-forwarded-for", ""},
		{"via", "via: us", codec.Fields{{Name: "via", Value: "them"}}, false, "via", "them, us"},
	} {
		t.Run(c.name, func(t *testing.T) {
			heads := make(chan *codec.Request, 1)
			b := newBench(t, with(plainRoute, c.more), echoHead(heads), nil)
			b.conn.info.RemoteAddress = network.IPAddress(netip.MustParseAddrPort("192.0.2.9:4000"))
			b.conn.secure = c.secure
			req := get("/")
			req.Header = c.sent
			b.ask(req)
			b.wait()
			got := (<-heads).Header
			switch {
			case c.want == "" && got.Has(c.field):
				t.Errorf("%s: %q, want none", c.field, got.Get(c.field))
			case c.want != "" && !regexp.MustCompile(`^(?:`+c.want+`)$`).MatchString(got.Get(c.field)):
				t.Errorf("%s: %q, want %s", c.field, got.Get(c.field), c.want)
			}
		})
	}
}

func TestSchemeOverwrite(t *testing.T) {
	heads := make(chan *codec.Request, 2)
	b := newBench(t, with(plainRoute+","+proxyRoute, "scheme_header_transformation: {scheme_to_overwrite: https}"), echoHead(heads), nil)
	b.ask(get("/"))
	if h := <-heads; h.Scheme != "https" {
		t.Errorf("scheme %q", h.Scheme)
	}
	b.ask(connect())
	if h := <-heads; h.Scheme != "" {
		t.Errorf("a CONNECT got the scheme %q", h.Scheme)
	}
	b.wait()
}

func TestResponseFields(t *testing.T) {
	const date = `(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT`
	for _, c := range []struct{ name, more, field, want string }{
		{"our name", "", "server", "culvert"},
		{"a name", "server_name: gw", "server", "gw"},
		{"only where absent", "server_header_transformation: APPEND_IF_ABSENT", "server", "origin"},
		{"the upstream's", "server_header_transformation: PASS_THROUGH", "server", "origin"},
		{"date", "", "date", date},
		{"no request id", "", "x-request-id", ""},
		{"request id", "always_set_request_id_in_response: true", "x-request-id", `[0-9a-f-]{36}`},
		{"via", "via: us", "via", "us"},
		{"service time", "", "x-envoy-upstream-service-time", `\d+`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, with(plainRoute, c.more), echoHead(make(chan *codec.Request, 1), codec.Field{Name: "server", Value: "origin"}), nil)
			res, _ := b.ask(get("/"))
			b.wait()
			got := res.Header.Get(c.field)
			if !regexp.MustCompile(`^(?:` + c.want + `)$`).MatchString(got) {
				t.Errorf("%s: %q, want %s", c.field, got, c.want)
			}
		})
	}
}

func TestE03Bytestream(t *testing.T) {
	c, far := origin()
	b := newBench(t, with(terminateRoute+","+plainRoute, ""), c, nil)
	client := b.send(extended("bytestream"))
	if res := head(t, client); res.Status != 200 {
		t.Fatalf("status %d", res.Status)
	}
	mustWrite(t, client, "ping")
	mustRead(t, far, "ping")
	client.Reset(codec.CodeCancel, nil)
	b.wait()
}

func TestProxyStatusName(t *testing.T) {
	for more, want := range map[string]string{
		"server_name: gw": `gw;error=destination_not_found;details="route_not_found"`,
		"proxy_status_config: {literal_proxy_name: me, remove_details: true}": `me;error=destination_not_found`,
	} {
		b := newBench(t, with(plainRoute, more), nil, nil)
		res, _ := b.ask(connect())
		b.wait()
		if got := res.Header.Get("proxy-status"); got != want {
			t.Errorf("%s: %q, want %q", more, got, want)
		}
	}
}
