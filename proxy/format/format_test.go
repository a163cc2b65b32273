package format

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

func ip(s string) network.Address { return network.IPAddress(netip.MustParseAddrPort(s)) }

// exchange is a context in which every operator has a value.
func exchange() *Context {
	info := network.NewStreamInfo(42)
	info.Start = time.Date(2026, 1, 31, 12, 34, 56, 789012345, time.UTC)
	info.ConnectionID, info.StreamID = 7, 3
	info.RemoteAddress, info.LocalAddress = ip("192.0.2.1:1000"), ip("[2001:db8::1]:443")
	info.DirectRemoteAddress, info.DirectLocalAddress = ip("192.0.2.9:1009"), network.InternalAddress("capture", "e1")
	info.ServerName, info.Route, info.FilterChain = "a.test", "r1", "fc1"
	info.Protocol, info.ResponseCode, info.Details = "HTTP/2", 503, "upstream reset {remote reset}"
	info.TerminationDetails, info.Attempts, info.TransportFailure = "because", 2, "no route"
	info.Flags = network.FlagUF | network.FlagURX
	info.Meter.Received(10)
	info.Meter.Sent(20)
	cert := &x509.Certificate{
		Raw: []byte("raw"), SerialNumber: big.NewInt(0xabc),
		Subject:  pkix.Name{CommonName: "client", Organization: []string{"o"}},
		Issuer:   pkix.Name{CommonName: "ca"},
		DNSNames: []string{"a.test", "b.test"}, URIs: []*url.URL{{Scheme: "spiffe", Host: "x", Path: "/y"}},
		IPAddresses: []net.IP{net.IPv4(192, 0, 2, 5)}, EmailAddresses: []string{"m@a.test"},
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	info.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, PeerCertificates: []*x509.Certificate{cert}}
	info.SetUpstream(&network.UpstreamInfo{
		Cluster: "edge", Host: ip("198.51.100.1:8443"), HostName: "gw.test",
		LocalAddress: ip("10.0.0.1:5000"), RemoteAddress: ip("198.51.100.2:8443"),
		ConnectionID: 9, Protocol: "HTTP/2",
		TLS: &tls.ConnectionState{Version: tls.VersionTLS12, CipherSuite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, PeerCertificates: []*x509.Certificate{cert}},
	})
	info.SetFilterState("s", "plain")
	info.SetFilterState("culvert:odd", "colon")
	info.SetFilterState("f", fielder{})
	info.SetMetadata("ns", "k", "v")
	info.SetMetadata("ns", "deep", map[string]any{"n": 4, "list": []any{"a", 1}})
	return &Context{
		Info: info,
		Request: &codec.Request{
			Proto: codec.HTTP2, Method: "GET", Scheme: "https", Authority: "a.test:443", Path: "/p?x=1&y=&x=2#f", HasPath: true,
			Header: codec.Fields{{Name: "User-Agent", Value: "curl"}, {Name: "empty", Value: ""}, {Name: "x-envoy-original-path", Value: "/orig?q"}},
		},
		Response: &codec.Response{Status: 200, Header: codec.Fields{{Name: "server", Value: "s"}}},
		Trailers: codec.Fields{{Name: "t", Value: "tv"}},
		LogType:  "DownstreamEnd", LocalReplyBody: "sorry",
	}
}

type fielder struct{}

func (fielder) Field(name string) (any, bool) { return 5, name == "five" }
func (fielder) String() string                { return "object" }

func TestOperators(t *testing.T) {
	t.Setenv("FORMAT_TEST", "env value")
	hostname, _ := os.Hostname()
	for format, want := range map[string]string{
		"":                                     "",
		"plain":                                "plain",
		"100%%":                                "100%",
		"%%%PROTOCOL%%%":                       "%HTTP/2%",
		"a %PROTOCOL% b":                       "a HTTP/2 b",
		"%START_TIME%":                         "2026-01-31T12:34:56.789Z",
		"%START_TIME(%s)%":                     "1769862896",
		"%START_TIME(%s.%3f)%":                 "1769862896.789",
		"%START_TIME(%Y/%m/%dT%H:%M:%S%z %f)%": "2026/01/31T12:34:56+0000 789012345",
		"%START_TIME(%E3S %E*S %E6f %E*f)%":    "56.789 56.789012345 789012 789012345",
		"%START_TIME(%b %e %a %j %I%p %Ez %E4Y%n%t%%)%":                                                 "Jan 31 Sat 031 12PM +00:00 2026\n\t%",
		"%START_TIME(5 (five) %d)%":                                                                     "5 (five) 31",
		"%REQ(:METHOD)% %REQ(:Path)% %REQ(:SCHEME)%":                                                    "GET /p?x=1&y=&x=2#f https",
		"%REQ(:AUTHORITY)% %REQ(host)%":                                                                 "a.test:443 a.test:443",
		"%REQ(USER-AGENT)%":                                                                             "curl",
		"%REQ(USER-AGENT):2%":                                                                           "cu",
		"%REQ(USER-AGENT):99%":                                                                          "curl",
		"%REQ(none?user-agent)% %REQ(none?other)%":                                                      "curl -",
		"%REQ(empty?user-agent)%|":                                                                      "|",
		"%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%":                                                            "/orig?q",
		"%REQ(:PROTOCOL)%":                                                                              "-",
		"%QUERY_PARAM(x)% %QUERY_PARAM(y)% %QUERY_PARAM(z)%":                                            "1  -",
		"%PATH% %PATH(NQ:PATH)% %PATH(WQ:PATH)% %PATH(:ORIG)%":                                          "/orig?q /p /p?x=1&y=&x=2#f /orig?q",
		"%RESP(SERVER)% %RESP(:STATUS)% %RESP(x)% %TRAILER(T)% %TRAILER(u)%":                            "s 200 - tv -",
		"%RESPONSE_CODE% %RESPONSE_CODE_DETAILS%":                                                       "503 upstream_reset_{remote_reset}",
		"%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%":                                                    "upstream reset {remote reset}",
		"%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%":                                                        "UF,URX UpstreamConnectionFailure,UpstreamRetryLimitExceeded",
		"%CONNECTION_TERMINATION_DETAILS%":                                                              "because",
		"%BYTES_RECEIVED% %BYTES_SENT%":                                                                 "10 20",
		"%CONNECTION_ID% %STREAM_ID%":                                                                   "7 42",
		"%REQUESTED_SERVER_NAME% %ROUTE_NAME% %FILTER_CHAIN_NAME%":                                      "a.test r1 fc1",
		"%ACCESS_LOG_TYPE% %LOCAL_REPLY_BODY%":                                                          "DownstreamEnd sorry",
		"%UPSTREAM_HOST% %UPSTREAM_HOST_NAME% %UPSTREAM_CLUSTER% %UPSTREAM_CLUSTER_RAW%":                "198.51.100.1:8443 gw.test edge edge",
		"%UPSTREAM_LOCAL_ADDRESS% %UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %UPSTREAM_LOCAL_PORT%":          "10.0.0.1:5000 10.0.0.1 5000",
		"%UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_PORT%":       "198.51.100.2:8443 198.51.100.2 8443",
		"%UPSTREAM_PROTOCOL% %UPSTREAM_CONNECTION_ID% %UPSTREAM_REQUEST_ATTEMPT_COUNT%":                 "HTTP/2 9 2",
		"%UPSTREAM_TRANSPORT_FAILURE_REASON%":                                                           "no_route",
		"%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT%": "192.0.2.1:1000 192.0.2.1 1000",
		"%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%":    "[2001:db8::1]:443 2001:db8::1 443",
		"%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%":            "192.0.2.9:1009 192.0.2.9",
		"%DOWNSTREAM_DIRECT_LOCAL_ADDRESS% %DOWNSTREAM_DIRECT_LOCAL_PORT% %DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID%":                            "envoy://capture/e1 - e1",
		"%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER%":                                                                                          "TLSv1.3 TLS_AES_128_GCM_SHA256",
		"%UPSTREAM_TLS_VERSION% %UPSTREAM_TLS_CIPHER%":                                                                                              "TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256",
		"%DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_ISSUER% %DOWNSTREAM_PEER_SERIAL%":                                                               "CN=client,O=o CN=ca abc",
		"%DOWNSTREAM_PEER_DNS_SAN% %DOWNSTREAM_PEER_URI_SAN% %UPSTREAM_PEER_IP_SAN% %UPSTREAM_PEER_EMAIL_SAN%":                                      "a.test,b.test spiffe://x/y 192.0.2.5 m@a.test",
		"%DOWNSTREAM_PEER_CERT_V_START(%F)% %DOWNSTREAM_PEER_CERT_V_END(%Y)%":                                                                       "2026-01-01 2027",
		"%FILTER_STATE(s:PLAIN)% %FILTER_STATE(s:PLAIN):2% %FILTER_STATE(s)% %FILTER_STATE(s:TYPED)%":                                               `plain pl "plain" "plain"`,
		"%FILTER_STATE(culvert:odd:PLAIN)% %FILTER_STATE(none:PLAIN)%":                                                                              "colon -",
		"%FILTER_STATE(f:PLAIN)% %FILTER_STATE(f:FIELD:five)% %FILTER_STATE(f:FIELD:six)%":                                                          "object 5 -",
		"%DYNAMIC_METADATA(ns:k)% %DYNAMIC_METADATA(ns:deep:n)% %DYNAMIC_METADATA(ns:deep:list)% %DYNAMIC_METADATA(ns:none)% %DYNAMIC_METADATA(x)%": `v 4 ["a",1] - -`,
		"%DYNAMIC_METADATA(ns:k:deeper)%":                                                                                                           "-",
		"%ENVIRONMENT(FORMAT_TEST)% %ENVIRONMENT(FORMAT_TEST):3% %ENVIRONMENT(FORMAT_NONE)%":                                                        "env value env -",
		"%HOSTNAME%": hostname,
	} {
		f, err := Compile(format)
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		if got := f.String(exchange()); got != want {
			t.Errorf("%s\n got %q\nwant %q", format, got, want)
		}
	}
}

// Where nothing is known everything is "-", and numbers that always are are 0.
func TestMissingValues(t *testing.T) {
	empty := func() *Context {
		return &Context{Info: &network.StreamInfo{}}
	}
	zero := regexp.MustCompile(`^(BYTES_.*|.*STREAM_(WIRE|HEADER)_BYTES_.*|CONNECTION_ID|STREAM_ID|RESPONSE_CODE|UPSTREAM_REQUEST_ATTEMPT_COUNT)$`)
	always := regexp.MustCompile(`^(EMIT_TIME.*|HOSTNAME|UNIQUE_ID|ACCESS_LOG_TYPE|DURATION)$`)
	params := map[string]string{
		"REQ": "x", "RESP": "x", "TRAILER": "x", "QUERY_PARAM": "x", "DYNAMIC_METADATA": "x", "FILTER_STATE": "x",
		"ENVIRONMENT": "FORMAT_NONE", "COMMON_DURATION": "US_CX_BEG:US_CX_END:ms",
	}
	for name := range operators() {
		s := "%" + name + "%"
		if p := params[name]; p != "" {
			s = "%" + name + "(" + p + ")%"
		}
		f, err := Compile(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		got := f.String(empty())
		switch {
		case zero.MatchString(name) && got == "0":
		case always.MatchString(name) && got != "-":
		case got == "-":
		default:
			t.Errorf("%s: %q", s, got)
		}
		omit, err := CompileWith(s, Options{OmitEmpty: true})
		if err != nil {
			t.Fatal(err)
		}
		if got == "-" && omit.String(empty()) != "" {
			t.Errorf("%s is not omitted", s)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for format, want := range map[string]string{
		"%":                    `at offset 0: no operator after %`,
		"ab % cd":              `at offset 3: no operator after %`,
		"%lower%":              `at offset 0: no operator after %`,
		"x %NO_SUCH%":          `operator %NO_SUCH% at offset 2: unknown operator`,
		"%PROTOCOL":            `operator %PROTOCOL% at offset 0: operator without its closing %`,
		"%PROTOCOL %":          `" " after the name`,
		"%REQ(x%":              "parameter without its )",
		"%REQ(x)":              "parameter without its )",
		"%REQ(x)y%":            "parameter without its )",
		"%REQ%":                "needs a parameter",
		"%REQ()%":              "needs a parameter",
		"%REQ(a b)%":           `"a b" is not a header name`,
		"%REQ(:bogus)%":        `":bogus" is not a header name`,
		"%REQ(x?)%":            `"" is not a header name`,
		"%REQ(x):0%":           `length "0" is not a positive number`,
		"%REQ(x):99999999999%": "is not a positive number",
		"%REQ(x):%":            "is not a positive number",
		"%PROTOCOL(x)%":        "takes no parameter",
		"%PROTOCOL:3%":         "takes no length",
		"%DURATION:3%":         "takes no length",
		"%START_TIME(%Q)%":     "unknown conversion at offset 0",
		"%START_TIME(a%)%":     "unknown conversion at offset 1",
		"%START_TIME(%E3)%":    "unknown conversion",
		"%COMMON_DURATION(A)%": "START:END:PRECISION",
		"%COMMON_DURATION(DS_RX_BEG:DS_RX_END:ms)%": "DS_RX_END is no point in time",
		"%COMMON_DURATION(X:DS_TX_END:ms)%":         "X is no point in time",
		"%COMMON_DURATION(DS_RX_BEG:DS_TX_END:s)%":  "precision is ms, us or ns",
		"%PATH(X)%":                                   `"X" is not WQ or NQ`,
		"%PATH(WQ:X)%":                                `"X" is not ORIG`,
		"%FILTER_STATE(a:B)%":                         `"B" is not PLAIN`,
		"%FILTER_STATE(:PLAIN)%":                      "names no filter state",
		"%RESPONSE_CODE_DETAILS(x)%":                  "ALLOW_WHITESPACES",
		"%DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT%": "is not supported by culvert",
		"%UPSTREAM_LOCAL_SUBJECT%":                    "is not supported by culvert",
		"%TLS_JA3_FINGERPRINT%":                       "is not supported by culvert",
	} {
		_, err := Compile(format)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", format, err, want)
		}
	}
}

func TestDurations(t *testing.T) {
	info := network.NewStreamInfo(1)
	for _, step := range []string{
		network.StepPicked, network.StepConnected, network.StepPicked, network.StepConnected,
		network.StepRequested, network.StepAnswered, network.StepAccepted, network.StepEnded,
	} {
		info.Mark(step)
	}
	// One second between steps; the first attempt was given up.
	for i := range info.Steps() {
		info.Steps()[i].After = time.Duration(i+1) * time.Second
	}
	c := &Context{Info: info}
	for format, want := range map[string]string{
		"%DURATION%": "8000",
		"%COMMON_DURATION(DS_RX_BEG:US_CX_BEG:ms)%": "3000",
		"%COMMON_DURATION(US_CX_BEG:US_CX_END:us)%": "1000000",
		"%COMMON_DURATION(US_TX_BEG:US_RX_BEG:ns)%": "1000000000",
		"%COMMON_DURATION(DS_TX_BEG:DS_TX_END:ms)%": "1000",
		"%COMMON_DURATION(DS_TX_END:DS_RX_BEG:ms)%": "-",
		"%RESPONSE_DURATION%":                       "6000",
		"%RESPONSE_TX_DURATION%":                    "2000",
		"%UPSTREAM_CONNECTION_POOL_READY_DURATION%": "1000",
	} {
		f, err := Compile(format)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.String(c); got != want {
			t.Errorf("%s: %s, want %s", format, got, want)
		}
	}
}

func TestIsConstant(t *testing.T) {
	for format, want := range map[string]bool{
		"": true, "x": true, "%%": true, "a.test:443": true, "%ENVIRONMENT(HOME)%": true, "%HOSTNAME%x": true,
		"%REQ(x)%": false, "a%PROTOCOL%": false, "%UNIQUE_ID%": false,
	} {
		f, err := Compile(format)
		if err != nil {
			t.Fatal(err)
		}
		if f.IsConstant() != want {
			t.Errorf("%s: constant %v", format, !want)
		}
	}
}

func TestUniqueID(t *testing.T) {
	f, err := Compile("%UNIQUE_ID%")
	if err != nil {
		t.Fatal(err)
	}
	a, b := f.String(exchange()), f.String(exchange())
	shape := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	if a == b || !shape.MatchString(a) {
		t.Errorf("%s, %s", a, b)
	}
}

// A peer's bytes cannot end a log line, leave their quotes or reach a terminal.
func TestAppendEscaped(t *testing.T) {
	f, err := Compile("\t[%REQ(x)%] %PROTOCOL%\n")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"curl/8":                "curl/8",
		"a\r\nb":                `a\r\nb`,
		`" 200 "`:               `\" 200 \"`,
		`\n`:                    `\\n`,
		"\x00\x1b[31m\x7f\t":    `\x00\x1b[31m\x7f\t`,
		"\xff\xc3\x28":          `\xff\xc3(`,
		"\u009b31m\u202e\u2028": `\u009b31m\u202e\u2028`,
		"grüß 世界":               "grüß 世界",
	} {
		c := exchange()
		c.Request.Header.Set("x", in)
		if got := string(f.AppendEscaped(nil, c)); got != "\t["+want+"] HTTP/2\n" {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if got := f.String(c); got != "\t["+in+"] HTTP/2\n" {
			t.Errorf("Append changed %q to %q", in, got)
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	f, err := Compile(`[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %BYTES_RECEIVED% %DURATION% "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %DOWNSTREAM_LOCAL_ADDRESS% %FILTER_STATE(s:PLAIN)%` + "\n")
	if err != nil {
		t.Fatal(err)
	}
	c, buf := exchange(), make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = f.AppendEscaped(buf[:0], c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	f, err := Compile(`[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"` + "\n")
	if err != nil {
		b.Fatal(err)
	}
	c, buf := exchange(), make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = f.AppendEscaped(buf[:0], c)
	}
}
