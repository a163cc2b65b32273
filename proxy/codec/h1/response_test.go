package h1_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/network"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// gotResponse is an exchange as a client saw it.
type gotResponse struct {
	Informational []int
	*codec.Response
	Body     string
	Trailers codec.Fields
	Reusable bool
}

// exchange sends req over c and reads what comes back.
func exchange(t testing.TB, c *feedConn, req *codec.Request, cfg h1.Config) (gotResponse, error) {
	t.Helper()
	var got gotResponse
	cc := h1.NewClientConn(c, cfg)
	s, err := cc.OpenStream(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for {
		res, err := s.ReadResponse(context.Background())
		if err != nil {
			return got, err
		}
		if !res.Informational() {
			got.Response = res
			break
		}
		got.Informational = append(got.Informational, res.Status)
	}
	body, err := io.ReadAll(s)
	got.Body, got.Trailers = string(body), s.Trailers()
	if err == nil {
		if !req.EndStream {
			_ = s.CloseWrite()
		}
		_ = s.Close()
		got.Reusable = cc.Reusable()
	}
	return got, err
}

func post() *codec.Request {
	return &codec.Request{Method: "POST", Authority: "example.com", Path: "/", HasPath: true}
}

func head() *codec.Request { r := get("/"); r.Method = "HEAD"; return r }

func upgrade() *codec.Request {
	return &codec.Request{Method: "GET", Authority: "example.com", Path: "/", HasPath: true, Protocol: "websocket"}
}

var responses = []struct {
	name string
	req  *codec.Request
	in   string
	want gotResponse
	// toEnd: the end of the connection is that of the body.
	toEnd bool
}{
	{"content-length", get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-a: 1\r\nx-A: 2\r\n\r\nhello", gotResponse{
		Response: &codec.Response{Status: 200, Header: fields("Content-Length", "5", "X-a", "1", "x-A", "2")}, Body: "hello", Reusable: true,
	}, false},
	{"no reason", get("/"), "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", gotResponse{
		Response: &codec.Response{Status: 200, Header: fields("Content-Length", "0"), EndStream: true}, Reusable: true,
	}, false},
	{"content-length twice the same", get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", gotResponse{
		Response: &codec.Response{Status: 200, Header: fields("Content-Length", "1")}, Body: "x", Reusable: true,
	}, false},
	{"chunks and trailers", post(), "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\nT: 1\r\n\r\n", gotResponse{
		Response: &codec.Response{Status: 200, Header: fields("Transfer-Encoding", "Chunked")}, Body: "abc", Trailers: fields("T", "1"), Reusable: true,
	}, false},
	{"until the end", get("/"), "HTTP/1.1 200 OK\r\n\r\nhello", gotResponse{
		Response: &codec.Response{Status: 200}, Body: "hello",
	}, true},
	{"HTTP/1.0", get("/"), "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", gotResponse{
		Response: &codec.Response{Status: 200, Header: fields("Content-Length", "1")}, Body: "x",
	}, false},
	{"close", get("/"), "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\nx", gotResponse{
		Response: &codec.Response{Status: 200, Header: fields("Connection", "x, Close", "Content-Length", "1")}, Body: "x",
	}, false},
	{"HEAD", head(), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", gotResponse{
		Response: &codec.Response{Status: 200, Header: fields("Content-Length", "5"), EndStream: true}, Reusable: true,
	}, false},
	{"HEAD without a length", head(), "HTTP/1.1 200 OK\r\n\r\n", gotResponse{
		Response: &codec.Response{Status: 200, EndStream: true}, Reusable: true,
	}, false},
	{"304", get("/"), "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", gotResponse{
		Response: &codec.Response{Status: 304, Header: fields("Content-Length", "5"), EndStream: true}, Reusable: true,
	}, false},
	{"204", get("/"), "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", gotResponse{
		Response: &codec.Response{Status: 204, EndStream: true}, Reusable: true,
	}, false},
	{"informational", get("/"), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", gotResponse{
		Informational: []int{100, 103},
		Response:      &codec.Response{Status: 200, Header: fields("Content-Length", "0"), EndStream: true}, Reusable: true,
	}, false},
	{"bytes behind the response", get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n", gotResponse{
		Response: &codec.Response{Status: 200, Header: fields("Content-Length", "1")}, Body: "x",
	}, false},
	{"bytes behind a HEAD", head(), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", gotResponse{
		Response: &codec.Response{Status: 200, Header: fields("Content-Length", "5"), EndStream: true},
	}, false},

	// Tunnels.
	{"CONNECT 200", connectTo("a:1"), "HTTP/1.1 200 OK\r\nVia: x\r\n\r\npayload", gotResponse{
		Response: &codec.Response{Status: 200, Header: fields("Via", "x")}, Body: "payload",
	}, true},
	{"C17 FB05 CONNECT 200 with CL", connectTo("a:1"), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n123456789012", gotResponse{
		Response: &codec.Response{Status: 200}, Body: "123456789012",
	}, true},
	{"FB06 F03 CONNECT 200 with TE", connectTo("a:1"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", gotResponse{
		Response: &codec.Response{Status: 200}, Body: "5\r\nhello\r\n",
	}, true},
	{"CONNECT 200 with CL and TE", connectTo("a:1"), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\nx", gotResponse{
		Response: &codec.Response{Status: 200}, Body: "x",
	}, true},
	{"F04 FB04 G30 CONNECT 202", connectTo("a:1"), "HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\nraw", gotResponse{
		Response: &codec.Response{Status: 202}, Body: "raw",
	}, true},
	{"G30 FB04 CONNECT 226", connectTo("a:1"), "HTTP/1.1 226 IM Used\r\nTransfer-Encoding: chunked\r\n\r\nraw", gotResponse{
		Response: &codec.Response{Status: 226}, Body: "raw",
	}, true},
	{"CONNECT 204", connectTo("a:1"), "HTTP/1.1 204 No Content\r\n\r\nraw", gotResponse{
		Response: &codec.Response{Status: 204}, Body: "raw",
	}, true},
	{"C18 CONNECT 400 with bytes", connectTo("a:1"), "HTTP/1.1 400 Bad Request\r\n\r\nbytes", gotResponse{
		Response: &codec.Response{Status: 400}, Body: "bytes",
	}, true},
	{"CONNECT refused: never used again", connectTo("a:1"), "HTTP/1.1 407 Proxy\r\nContent-Length: 2\r\n\r\nno", gotResponse{
		Response: &codec.Response{Status: 407, Header: fields("Content-Length", "2")}, Body: "no",
	}, false},
	{"upgrade 101", upgrade(), "HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\nframes", gotResponse{
		Response: &codec.Response{Status: 101, Protocol: "WebSocket", Header: fields("Upgrade", "WebSocket", "Connection", "upgrade")}, Body: "frames",
	}, true},
	{"CVE-2024-23326 upgrade 200 is no upgrade", upgrade(), "HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno", gotResponse{
		Response: &codec.Response{Status: 200, Header: fields("Upgrade", "websocket", "Content-Length", "2")}, Body: "no",
	}, false},
	{"upgrade 426: never used again", upgrade(), "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", gotResponse{
		Response: &codec.Response{Status: 426, Header: fields("Content-Length", "0"), EndStream: true},
	}, false},
}

func TestResponses(t *testing.T) {
	for _, tt := range responses {
		for name, c := range map[string]*feedConn{"whole": feed(tt.in), "dripping": drip(tt.in)} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				got, err := exchange(t, c, tt.req, h1.Config{})
				if err != nil {
					t.Fatal(err)
				}
				want := tt.want
				if name == "dripping" && strings.HasPrefix(tt.name, "bytes behind") {
					want.Reusable = true // they have not come yet
				}
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// What ends early is a reset, never a whole response, and the connection is not
// used again.
func TestEveryPrefixOfAResponse(t *testing.T) {
	for _, tt := range responses {
		if strings.HasPrefix(tt.name, "bytes behind") {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			head := strings.LastIndex(tt.in, "\r\n\r\n") + 4
			if at := strings.Index(tt.in, "\r\n\r\n") + 4; len(tt.want.Informational) == 0 {
				head = at
			}
			for n := range len(tt.in) {
				got, err := exchange(t, feed(tt.in[:n]), tt.req, h1.Config{})
				switch {
				case n >= head && tt.toEnd:
					if err != nil {
						t.Errorf("prefix of %d bytes: %v", n, err)
					}
				case err == nil || !network.IsReset(err) || !errors.Is(err, h1.ErrTruncated):
					t.Errorf("prefix of %d bytes: %v, want a truncation", n, err)
				}
				if got.Reusable {
					t.Errorf("prefix of %d bytes left the connection to be used again", n)
				}
			}
		})
	}
}

func TestRefusedResponses(t *testing.T) {
	for _, tt := range []struct {
		name string
		req  *codec.Request
		in   string
	}{
		{"no HTTP", get("/"), "SSH-2.0-OpenSSH\r\n"},
		{"version 2", get("/"), "HTTP/2.0 200 OK\r\n\r\n"},
		{"version 1.2", get("/"), "HTTP/1.2 200 OK\r\n\r\n"},
		{"status of two digits", get("/"), "HTTP/1.1 20 OK\r\n\r\n"},
		{"status of four digits", get("/"), "HTTP/1.1 2000 OK\r\n\r\n"},
		{"status 099", get("/"), "HTTP/1.1 099 OK\r\n\r\n"},
		{"two spaces", get("/"), "HTTP/1.1  200 OK\r\n\r\n"},
		{"control in the reason", get("/"), "HTTP/1.1 200 O\x00K\r\n\r\n"},
		{"empty line first", get("/"), "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{"bare LF", get("/"), "HTTP/1.1 200 OK\nContent-Length: 0\n\n"},
		{"bare CR", get("/"), "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n"},
		{"obs-fold", get("/"), "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"},
		{"space before the colon", get("/"), "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"},
		{"CL and TE", get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{"CLs that differ", get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"},
		{"CL list", get("/"), "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello"},
		{"CL minus", get("/"), "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"},
		{"TE gzip", get("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"},
		{"TE in HTTP/1.0", get("/"), "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"bad chunk", get("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"},
		{"chunk with a bare LF", get("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n"},
		{"trailer that frames", get("/"), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n\r\n"},
		{"101 unasked", get("/"), "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n"},
		{"101 to CONNECT", connectTo("a:1"), "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n"},
		{"too many informational", get("/"), strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 17) + "HTTP/1.1 200 OK\r\n\r\n"},
		{"head beyond 60 KiB", get("/"), "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 61<<10)},
		{"101 fields", get("/"), "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 101) + "\r\n"},
	} {
		for name, c := range map[string]*feedConn{"whole": feed(tt.in), "dripping": drip(tt.in)} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				got, err := exchange(t, c, tt.req, h1.Config{})
				var broken *h1.MessageError
				if !errors.As(err, &broken) || !network.IsReset(err) || codec.CodeFor(err) != codec.CodeProtocol {
					t.Errorf("got %+v, %v", got, err)
				}
				if c.aborted == nil {
					t.Error("the connection was not aborted")
				}
			})
		}
	}
}
