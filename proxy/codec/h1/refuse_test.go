package h1_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"culvert/proxy/codec/h1"
)

// refusals are heads and bodies that break a rule, with what they are answered.
var refusals = []struct {
	name   string
	in     string
	status int
}{
	// Smuggling: messages that two readers delimit differently.
	{"CL.TE", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", 400},
	{"TE.CL", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n", 400},
	{"TE.TE", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", 501},
	{"TE twice chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400},
	{"TE chunked in two lines", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	{"TE chunked not last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 501},
	{"TE gzip, chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
	{"TE xchunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501},
	{"TE identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 501},
	{"TE with a parameter", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n", 501},
	{"TE empty", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400},
	{"TE vertical tab", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", 400},
	{"TE space before colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE tab before colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n", 400},
	{"TE folded", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", 400},
	{"TE in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"CLs that differ", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
	{"CL twice the same", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400},
	{"CL list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", 400},
	{"CL plus", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400},
	{"CL minus", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", 400},
	{"CL hexadecimal", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", 400},
	{"CL empty", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400},
	{"CL beyond int64", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
	{"CL underscore digits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n", 400},

	// Lines.
	{"bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
	{"bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
	{"bare LF as the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
	{"bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400},
	{"bare CR as a line end", "GET / HTTP/1.1\rHost: a\r\r\n\r\n", 400},
	{"CR CR LF", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400},
	{"obs-fold", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400},
	{"obs-fold with a tab", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", 400},
	{"space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
	{"NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400},
	{"NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\x00: a\r\n\r\n", 400},
	{"DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", 400},
	{"field without a colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400},
	{"field without a name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400},
	{"name with a space", "GET / HTTP/1.1\r\nHost: a\r\nX Y: a\r\n\r\n", 400},
	{"name that is not ASCII", "GET / HTTP/1.1\r\nHost: a\r\n\xc3\xa9: a\r\n\r\n", 400},
	{"too many empty lines", "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"empty line that is a bare LF", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},

	// The request line.
	{"TLS on a plain port", "\x16\x03\x01\x02\x00\x01", 400},
	{"HTTP/0.9", "GET /\r\n\r\n", 400},
	{"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"tab for a space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"space behind", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
	{"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"invalid method", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"method in other letters", "connect a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"method in other letters: get", "Get / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"method is too long", strings.Repeat("A", 65) + " / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
	{"target without a slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"target with a fragment", "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"target with a control", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"target not ASCII", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"asterisk for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"absolute-form of another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"absolute-form without authority", "GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"absolute-form with user information", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"authority-form for GET", "GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
	{"HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	{"HTTP/11", "GET / HTTP/11\r\nHost: a\r\n\r\n", 400},
	{"http/1.1", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
	{"HTTP/1.1 not exactly", "GET / HTTP/1.01\r\nHost: a\r\n\r\n", 400},

	// Host.
	{"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
	{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
	{"two Hosts the same", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400},
	{"Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
	{"Host with user information", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
	{"Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
	{"Host with a bad port", "GET / HTTP/1.1\r\nHost: a:http\r\n\r\n", 400},
	{"absolute-form without Host", "GET http://a/ HTTP/1.1\r\n\r\n", 400},

	// CONNECT.
	{"C13 CONNECT with a URI", "CONNECT http://host:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"C14 FB39 CONNECT with TE", "CONNECT host:80 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
	{"C15 CONNECT with CL", "CONNECT host:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1", 400},
	{"CONNECT with CL and TE", "CONNECT host:80 HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1", 501},
	{"CONNECT with a path", "CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"CONNECT without a port", "CONNECT host HTTP/1.1\r\nHost: host\r\n\r\n", 400},
	{"CONNECT to port 0", "CONNECT host:0 HTTP/1.1\r\nHost: host\r\n\r\n", 400},
	{"CONNECT to port 65536", "CONNECT host:65536 HTTP/1.1\r\nHost: host\r\n\r\n", 400},
	{"CONNECT to no host", "CONNECT :80 HTTP/1.1\r\nHost: host\r\n\r\n", 400},
	{"CONNECT with user information", "CONNECT u@host:80 HTTP/1.1\r\nHost: host\r\n\r\n", 400},
	{"CONNECT to a bare v6 address", "CONNECT ::1:80 HTTP/1.1\r\nHost: host\r\n\r\n", 400},
	{"CONNECT with two Hosts", "CONNECT host:80 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
	{"upgrade with CL and TE", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},

	// Limits.
	{"head beyond 60 KiB", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 62) + "\r\n", 431},
	{"field beyond 60 KiB that does not end", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 61<<10), 431},
	{"101 fields", "GET / HTTP/1.1\r\n" + strings.Repeat("Host: a\r\n", 101) + "\r\n", 431},
	{"request line beyond 32 KiB", "GET /" + strings.Repeat("y", 32<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
	{"request line that does not end", "GET /" + strings.Repeat("y", 40<<10), 414},

	// Chunks (CVE-2025-22871 and kin).
	{"chunk size with 0x", chunked("0x1\r\na\r\n0\r\n\r\n"), 400},
	{"chunk size with a sign", chunked("+1\r\na\r\n0\r\n\r\n"), 400},
	{"chunk size with a space before", chunked(" 1\r\na\r\n0\r\n\r\n"), 400},
	{"chunk size with a space behind", chunked("1 \r\na\r\n0\r\n\r\n"), 400},
	{"chunk size with a space before its extension", chunked("1 ;a\r\na\r\n0\r\n\r\n"), 400},
	{"chunk size empty", chunked("\r\na\r\n0\r\n\r\n"), 400},
	{"chunk size overflow", chunked("10000000000000001\r\na\r\n0\r\n\r\n"), 400},
	{"chunk line with a bare LF", chunked("1\na\r\n0\r\n\r\n"), 400},
	{"chunk extension with a bare LF", chunked("1;a\nb\r\na\r\n0\r\n\r\n"), 400},
	{"chunk extension with a bare CR", chunked("1;a\rb\r\na\r\n0\r\n\r\n"), 400},
	{"chunk longer than its size", chunked("1\r\nab\r\n0\r\n\r\n"), 400},
	{"chunk data ends in a bare LF", chunked("1\r\na\n0\r\n\r\n"), 400},
	{"chunk data ends in two other bytes", chunked("1\r\naXX0\r\n\r\n"), 400},
	{"last chunk ends in a bare LF", chunked("0\n\r\n"), 400},
	{"trailers end in a bare LF", chunked("0\r\n\n"), 400},
	{"chunk extension without end", chunked("1;" + strings.Repeat("a", 2000)), 400},
	{"chunk extensions in all", chunked(strings.Repeat("1;"+strings.Repeat("a", 900)+"\r\na\r\n", 20)), 400},
	{"trailer Content-Length", chunked("0\r\nContent-Length: 5\r\n\r\n"), 400},
	{"trailer Transfer-Encoding", chunked("0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
	{"trailer folded", chunked("0\r\nA: b\r\n c\r\n\r\n"), 400},
	{"trailers too large", chunked("0\r\nA: " + strings.Repeat("y", 61<<10)), 431},
	{"too many trailers", chunked("0\r\n" + strings.Repeat("A: b\r\n", 101) + "\r\n"), 431},
}

func chunked(body string) string {
	return "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body
}

// Each is answered once, and nothing behind it is served.
func TestRefusedMessages(t *testing.T) {
	for _, tt := range refusals {
		for _, in := range []struct {
			name string
			conn *feedConn
		}{
			{"whole", feed(tt.in + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")},
			{"dripping", drip(tt.in)},
		} {
			t.Run(tt.name+"/"+in.name, func(t *testing.T) {
				got, err := collect(t, in.conn, h1.Config{AcceptHTTP10: true})
				var broken *h1.MessageError
				if !errors.As(err, &broken) || broken.Status != tt.status {
					t.Errorf("the connection ended with %v, want status %d", err, tt.status)
				}
				for _, r := range got {
					if r.Err == nil || r.Path == "/smuggled" {
						t.Errorf("%s %s was served", r.Method, r.Path)
					}
				}
				out := in.conn.written()
				if want := fmt.Sprintf("HTTP/1.1 %d ", tt.status); !strings.HasPrefix(out, want) || strings.Count(out, "HTTP/1.1 ") != 1 {
					t.Errorf("answered %q, want one %d", out, tt.status)
				}
				if !strings.Contains(out, "\r\nConnection: close\r\n") || !in.conn.ended {
					t.Errorf("the connection was not closed: %q", out)
				}
			})
		}
	}
}

// HTTP/1.0 is not served unless it is asked for.
func TestC20HTTP10IsRefusedByDefault(t *testing.T) {
	c := feed("GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	if _, err := collect(t, c, h1.Config{}); err == nil {
		t.Error("no error")
	}
	if out := c.written(); !strings.HasPrefix(out, "HTTP/1.1 426 ") || !strings.Contains(out, "Upgrade: HTTP/1.1\r\n") {
		t.Errorf("answered %q", out)
	}
}

func TestUnderscores(t *testing.T) {
	const in = "GET / HTTP/1.1\r\nHost: a\r\nX_Y: 1\r\nZ: 2\r\n\r\n"
	for _, tt := range []struct {
		name   string
		what   h1.Underscores
		fields int
		status string
	}{
		{"allowed", h1.AllowUnderscores, 2, "200"},
		{"dropped", h1.DropUnderscores, 1, "200"},
		{"rejected", h1.RejectUnderscores, 0, "400"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			counted := map[string]*count{}
			stats := h1.NewStats(func(name string) *count { counted[name] = new(count); return counted[name] })
			c := feed(in)
			got, _ := collect(t, c, h1.Config{Underscores: tt.what, Stats: stats})
			if !strings.HasPrefix(c.written(), "HTTP/1.1 "+tt.status) {
				t.Errorf("answered %q", c.written())
			}
			if len(got) > 0 && len(got[0].Header) != tt.fields {
				t.Errorf("fields %v", got[0].Header)
			}
			dropped, rejected := *counted["dropped_headers_with_underscores"], *counted["requests_rejected_with_underscores_in_headers"]
			if (dropped == 1) != (tt.what == h1.DropUnderscores) || (rejected == 1) != (tt.what == h1.RejectUnderscores) {
				t.Errorf("counted %d dropped, %d rejected", dropped, rejected)
			}
		})
	}
}

type count int

func (c *count) Inc() { *c++ }
