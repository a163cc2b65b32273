package tcpproxy

import (
	"errors"
	"fmt"
	"regexp"
	"testing"

	"culvert/configs/field"
	"culvert/proxy/codec"
	"culvert/proxy/format"
	"culvert/proxy/network"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	uuidv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

func packed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func uuidExtension(t *testing.T) *hcmv3.RequestIDExtension {
	return &hcmv3.RequestIDExtension{TypedConfig: packed(t, &uuidv3.UuidRequestIdConfig{})}
}

// Which method, and what belongs to it.
func TestG05G06G07Method(t *testing.T) {
	tests := []struct {
		name         string
		m            *tcpproxyv3.TcpProxy_TunnelingConfig
		secure       bool
		method       string
		scheme, path string
	}{
		{"G07", &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "h:1"}, true, "CONNECT", "", ""},
		{"G05", &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "h:1", UsePost: true}, false, "POST", "http", "/"},
		{"G05 path", &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "h:1", UsePost: true, PostPath: "/t?x=1"}, false, "POST", "http", "/t?x=1"},
		{"G06", &tcpproxyv3.TcpProxy_TunnelingConfig{Hostname: "h:1", UsePost: true}, true, "POST", "https", "/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tun, err := newTunneling(tt.m)
			if err != nil {
				t.Fatal(err)
			}
			req, err := tun.head(flowInfo(), tt.secure)
			if err != nil {
				t.Fatal(err)
			}
			if req.Method != tt.method || req.Scheme != tt.scheme || req.Path != tt.path || req.HasPath != (tt.path != "") || req.Authority != "h:1" || req.EndStream {
				t.Errorf("head %+v", req)
			}
		})
	}
}

// A request id, there before the headers are evaluated, new for each
// request.
func TestG09G10RequestID(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for _, tt := range []struct{ name, header, key, wantHeader, wantKey string }{
		{"G09", "", "", "x-request-id", "tunnel_request_id"},
		{"G10", "X-Rid", "rid", "x-rid", "rid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tun, err := newTunneling(&tcpproxyv3.TcpProxy_TunnelingConfig{
				Hostname: "h:1", RequestIdExtension: uuidExtension(t), RequestIdHeader: tt.header, RequestIdMetadataKey: tt.key,
				HeadersToAdd: []*corev3.HeaderValueOption{
					header("x-copy", "%DYNAMIC_METADATA(envoy.filters.network.tcp_proxy:"+tt.wantKey+")%", appendOrAdd),
					header("x-from-head", "%REQ("+tt.wantHeader+")%", appendOrAdd),
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			info := flowInfo()
			seen := map[string]bool{}
			for range 3 {
				req, err := tun.head(info, false)
				if err != nil {
					t.Fatal(err)
				}
				id := req.Header.Get(tt.wantHeader)
				if !uuid.MatchString(id) || seen[id] || req.Header.Get("x-copy") != id || req.Header.Get("x-from-head") != id {
					t.Errorf("header %v", req.Header)
				}
				if tt.name == "G10" && req.Header.Has("x-request-id") {
					t.Error("x-request-id is there too")
				}
				if info.Metadata["envoy.filters.network.tcp_proxy"][tt.wantKey] != id {
					t.Errorf("metadata %v", info.Metadata)
				}
				seen[id] = true
			}
		})
	}
}

// answered is a conn, or an error, that knows its answer.
type answeredConn struct {
	network.Conn
	head     *codec.Response
	trailers codec.Fields
}

func (c *answeredConn) Answer() *codec.Response { return c.head }
func (c *answeredConn) Trailers() codec.Fields  { return c.trailers }

type answeredError struct{ head *codec.Response }

func (e *answeredError) Error() string           { return "no" }
func (e *answeredError) Answer() *codec.Response { return e.head }

// What the gateway said is kept, a no as well as a yes, the last
// one counts; nothing is kept unless it is asked for.
func TestG18G19FB10Propagation(t *testing.T) {
	head := func(status int) *codec.Response {
		return &codec.Response{Status: status, Header: codec.Fields{{Name: "x-gw", Value: fmt.Sprint("n", status)}}}
	}
	print := func(info *network.StreamInfo, s string) string {
		f, err := format.Compile(s)
		if err != nil {
			t.Fatal(err)
		}
		return f.String(&format.Context{Info: info})
	}
	const headers = "%FILTER_STATE(envoy.tcp_proxy.propagate_response_headers:TYPED)%"
	const oneField = "%FILTER_STATE(envoy.tcp_proxy.propagate_response_headers:FIELD:x-gw)%"
	const trailers = "%FILTER_STATE(envoy.tcp_proxy.propagate_response_trailers:PLAIN)%"
	info := network.NewStreamInfo(1)
	conn := &answeredConn{head: head(200), trailers: codec.Fields{{Name: "x-end", Value: "yes"}}}

	var off propagation
	off.answered(info, conn, nil)
	off.ended(info, conn)
	if got := print(info, headers+trailers); got != "--" {
		t.Errorf("off: %s", got)
	}
	on := propagation{headers: true, trailers: true}
	on.answered(info, nil, fmt.Errorf("attempt: %w", &answeredError{head(503)}))
	on.answered(info, nil, errors.New("no answer at all"))
	if got := print(info, headers); got != `{"headers":[{"key":":status","value":"503"},{"key":"x-gw","value":"n503"}]}` {
		t.Errorf("a no: %s", got)
	}
	on.answered(info, conn, nil)
	on.ended(info, conn)
	if got := print(info, oneField+" "+trailers); got != `n200 {"headers":[{"key":"x-end","value":"yes"}]}` {
		t.Errorf("a yes: %s", got)
	}
	on.ended(network.NewStreamInfo(2), &pipeEnd{}) // a raw connection has none
}

// The errors of a tunnel's request.
func TestM05RequestErrors(t *testing.T) {
	type C = tcpproxyv3.TcpProxy_TunnelingConfig
	other := &hcmv3.RequestIDExtension{TypedConfig: packed(t, durationpb.New(1))}
	tests := []struct {
		name string
		m    *C
		path string
		text string
	}{
		{"M05", &C{Hostname: "h:1", PostPath: "/x"}, "post_path", "Can't set a post path when POST method isn't used"},
		{"no path", &C{Hostname: "h:1", UsePost: true, PostPath: "x"}, "post_path", `"x" is not a path`},
		{"two lines", &C{Hostname: "h:1", UsePost: true, PostPath: "/x\r\ny: z"}, "post_path", `"/x\r\ny: z" is not a path`},
		{"fragment", &C{Hostname: "h:1", UsePost: true, PostPath: "/x#y"}, "post_path", `"/x#y" is not a path`},
		{"another extension", &C{Hostname: "h:1", RequestIdExtension: other}, "request_id_extension.typed_config",
			"Didn't find a registered implementation for type: 'type.googleapis.com/google.protobuf.Duration'"},
		{"id in a pseudo header", &C{Hostname: "h:1", RequestIdExtension: uuidExtension(t), RequestIdHeader: ":path"},
			"request_id_header", ":-prefixed or host headers may not be modified"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newTunneling(tt.m)
			all := field.All(err)
			if len(all) != 1 || all[0].Path != tt.path || all[0].Err.Error() != tt.text {
				t.Errorf("got %v, want one error at %s: %s", err, tt.path, tt.text)
			}
		})
	}
}
