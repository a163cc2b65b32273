package h1_test

import (
	"strings"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// valid are inputs of one request each, with what the handler sees.
var valid = []struct {
	name string
	in   string
	want seen
}{
	{"plain", "GET /a?b=c HTTP/1.1\r\nHost: example.com:8080\r\n\r\n", seen{Request: &codec.Request{
		Method: "GET", Authority: "example.com:8080", Path: "/a?b=c", HasPath: true, EndStream: true,
	}}},
	{"order, duplicates and case are kept", "GET / HTTP/1.1\r\nX-b: 1\r\nx-A:2\r\nHost: a\r\nX-B: \t3 \r\nEmpty:\r\n\r\n", seen{Request: &codec.Request{
		Method: "GET", Authority: "a", Path: "/", HasPath: true, EndStream: true,
		Header: fields("X-b", "1", "x-A", "2", "X-B", "3", "Empty", ""),
	}}},
	{"empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", seen{Request: &codec.Request{
		Method: "GET", Authority: "a", Path: "/", HasPath: true, EndStream: true,
	}}},
	{"obs-text", "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\r\n\r\n", seen{Request: &codec.Request{
		Method: "GET", Authority: "a", Path: "/", HasPath: true, EndStream: true, Header: fields("X", "\xc3\xa9"),
	}}},
	{"empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", seen{Request: &codec.Request{
		Method: "GET", Path: "/", HasPath: true, EndStream: true,
	}}},
	{"a method of its own", "PURGE / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", seen{Request: &codec.Request{
		Method: "PURGE", Authority: "[::1]:80", Path: "/", HasPath: true, EndStream: true,
	}}},
	{"absolute-form: the authority wins", "GET HTTP://b:81/c?d HTTP/1.1\r\nHost: a\r\n\r\n", seen{Request: &codec.Request{
		Method: "GET", Scheme: "http", Authority: "b:81", Path: "/c?d", HasPath: true, EndStream: true,
	}}},
	{"absolute-form without a path", "GET http://b?x HTTP/1.1\r\nHost: b\r\n\r\n", seen{Request: &codec.Request{
		Method: "GET", Scheme: "http", Authority: "b", Path: "/?x", HasPath: true, EndStream: true,
	}}},
	{"asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", seen{Request: &codec.Request{
		Method: "OPTIONS", Authority: "a", Path: "*", HasPath: true, EndStream: true,
	}}},
	{"absolute-form of OPTIONS", "OPTIONS http://b HTTP/1.1\r\nHost: b\r\n\r\n", seen{Request: &codec.Request{
		Method: "OPTIONS", Scheme: "http", Authority: "b", Path: "*", HasPath: true, EndStream: true,
	}}},
	{"content-length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", seen{Body: "hello", Request: &codec.Request{
		Method: "POST", Authority: "a", Path: "/", HasPath: true, Header: fields("Content-Length", "5"),
	}}},
	{"content-length 0", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", seen{Request: &codec.Request{
		Method: "POST", Authority: "a", Path: "/", HasPath: true, EndStream: true, Header: fields("Content-Length", "0"),
	}}},
	{"chunks", chunked("3\r\nhel\r\n02\r\nlo\r\n0\r\n\r\n"), seen{Body: "hello", Request: &codec.Request{
		Method: "POST", Authority: "a", Path: "/", HasPath: true, Header: fields("Transfer-Encoding", "chunked"),
	}}},
	{"chunk extensions and trailers", chunked("3; a=\"b;c\"\r\nhel\r\nA;x\r\n0123456789\r\n000;y\r\nX-T: 1\r\nx-t: 2\r\n\r\n"),
		seen{Body: "hel0123456789", Trailers: fields("X-T", "1", "x-t", "2"), Request: &codec.Request{
			Method: "POST", Authority: "a", Path: "/", HasPath: true, Header: fields("Transfer-Encoding", "chunked"),
		}}},
	{"expect is passed up", "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx", seen{Body: "x", Request: &codec.Request{
		Method: "POST", Authority: "a", Path: "/", HasPath: true, Header: fields("Expect", "100-continue", "Content-Length", "1"),
	}}},
	{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", seen{Request: &codec.Request{
		Proto: codec.HTTP10, Method: "GET", Authority: "default.example", Path: "/", HasPath: true, EndStream: true,
	}}},

	// Tunnels: what follows the head is payload, whatever the head says.
	{"C12 CONNECT without Host", "CONNECT host:80 HTTP/1.1\r\n\r\nhello", seen{Body: "hello", Request: &codec.Request{
		Method: "CONNECT", Authority: "host:80",
	}}},
	{"C21 FB37 CONNECT with another Host: the target wins", "CONNECT a:443 HTTP/1.1\r\nHost: b\r\n\r\n", seen{Request: &codec.Request{
		Method: "CONNECT", Authority: "a:443",
	}}},
	{"CONNECT to a v6 address", "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: x\r\n\r\n", seen{Request: &codec.Request{
		Method: "CONNECT", Authority: "[2001:db8::1]:443",
	}}},
	{"C16 CONNECT with CL 0 and bytes", "CONNECT host:80 HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n", seen{
		Body: "GET / HTTP/1.1\r\n\r\n", Request: &codec.Request{Method: "CONNECT", Authority: "host:80"},
	}},
	{"CONNECT is no upgrade", "CONNECT host:80 HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", seen{
		Request: &codec.Request{Method: "CONNECT", Authority: "host:80"},
	}},
	{"C08 upgrade with payload", "GET /c HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nhello", seen{
		Body: "hello", Request: &codec.Request{
			Method: "GET", Authority: "a", Path: "/c", HasPath: true, Protocol: "websocket",
			Header: fields("Connection", "keep-alive, Upgrade", "Upgrade", "websocket"),
		},
	}},
	{"C07 upgrade with CL 5", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\n12345abcd", seen{
		Body: "12345abcd", Request: &codec.Request{
			Method: "GET", Authority: "a", Path: "/", HasPath: true, Protocol: "x",
			Header: fields("Connection", "upgrade", "Upgrade", "x", "Content-Length", "5"),
		},
	}},
	{"C09 upgrade with TE", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", seen{
		Body: "3\r\nabc\r\n", Request: &codec.Request{
			Method: "GET", Authority: "a", Path: "/", HasPath: true, Protocol: "x",
			Header: fields("Connection", "upgrade", "Upgrade", "x", "Transfer-Encoding", "chunked"),
		},
	}},
	{"C10 upgrade with CL 0", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\nabc", seen{
		Body: "abc", Request: &codec.Request{
			Method: "GET", Authority: "a", Path: "/", HasPath: true, Protocol: "x",
			Header: fields("Connection", "upgrade", "Upgrade", "x", "Content-Length", "0"),
		},
	}},

	// What is no upgrade.
	{"C01 h2c", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", seen{
		Request: &codec.Request{Method: "GET", Authority: "a", Path: "/", HasPath: true, EndStream: true},
	}},
	{"C02 h2c with other tokens", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, Close, HTTP2-Settings, Etc\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n", seen{
		Request: &codec.Request{
			Method: "GET", Authority: "a", Path: "/", HasPath: true, EndStream: true,
			Header: fields("Connection", "Close, Etc"),
		},
	}},
	{"C03 ignored by configuration", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n", seen{
		Request: &codec.Request{Method: "GET", Authority: "a", Path: "/", HasPath: true, EndStream: true},
	}},
	{"C05 one of two ignored", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: TLS/1.1, TLS/1.2\r\n\r\n", seen{
		Request: &codec.Request{
			Method: "GET", Authority: "a", Path: "/", HasPath: true, Protocol: "TLS/1.1",
			Header: fields("Connection", "Upgrade", "Upgrade", "TLS/1.1"),
		},
	}},
	{"Upgrade without Connection", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", seen{
		Request: &codec.Request{Method: "GET", Authority: "a", Path: "/", HasPath: true, EndStream: true},
	}},
	{"upgrade of HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", seen{
		Request: &codec.Request{Proto: codec.HTTP10, Method: "GET", Authority: "a", Path: "/", HasPath: true, EndStream: true},
	}},
}

var validConfig = h1.Config{
	AcceptHTTP10: true, DefaultHost: "default.example",
	IgnoreUpgrade: func(token string) bool { return token == "TLS/1.2" },
}

// Each valid input is read the same however it is cut.
func TestValidMessages(t *testing.T) {
	for _, tt := range valid {
		for name, c := range map[string]*feedConn{"whole": feed(tt.in), "dripping": drip(tt.in)} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				got, err := collect(t, c, validConfig)
				if err != nil || len(got) != 1 || got[0].Err != nil {
					t.Fatalf("got %v, %v", got, err)
				}
				want := tt.want
				if want.Proto == 0 {
					want.Proto = codec.HTTP11
				}
				if diff := cmp.Diff(want, got[0], cmpopts.EquateEmpty()); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// A connection that ends within a message ends badly, and nothing is served
// whole that is not.
func TestEveryPrefixOfAValidMessage(t *testing.T) {
	for _, tt := range valid {
		t.Run(tt.name, func(t *testing.T) {
			head := strings.Index(strings.TrimLeft(tt.in, "\r\n"), "\r\n\r\n") + 4 + len(tt.in) - len(strings.TrimLeft(tt.in, "\r\n"))
			for n := range len(tt.in) {
				got, err := collect(t, feed(tt.in[:n]), validConfig)
				for _, r := range got {
					if r.Err == nil && !(r.AsksTunnel() && n >= head) {
						t.Errorf("prefix of %d bytes was served: %q", n, tt.in[:n])
					}
				}
				tunnel := len(got) == 1 && got[0].AsksTunnel()
				if blank := strings.Trim(tt.in[:n], "\r\n") == ""; err == nil && !blank && !tunnel {
					t.Errorf("prefix of %d bytes ended in order: %q", n, tt.in[:n])
				}
			}
		})
	}
}
