package transport

import (
	"bytes"
	"testing"

	"culvert/proxy/codec"
)

// What is accepted as an answer is one: nothing in it can be mistaken for
// something else further on.
func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 Connection established\r\n"))
	f.Add([]byte("HTTP/1.1 407 \r\nProxy-Authenticate: Basic realm=\"x\"\r\nProxy-Status: p; error=dns_error\r\n"))
	f.Add([]byte("HTTP/1.0 200\r\nA:\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\nA: b\r\n"))
	f.Fuzz(func(t *testing.T, head []byte) {
		status, header, err := parseAnswer(head)
		if err != nil {
			return
		}
		if status < 100 || status > 999 || !bytes.HasPrefix(head, []byte("HTTP/1.")) {
			t.Fatalf("status %d of %q", status, head)
		}
		for _, line := range header {
			if !codec.ValidName(line.Name) || !codec.ValidValue(line.Value) {
				t.Fatalf("line %q of %q", line, head)
			}
		}
		_ = (&RefusedError{Status: status, Header: header}).ConnectReason()
	})
}
