package h1_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
)

// oracleRequest is what net/http makes of the first request of in.
func oracleRequest(in string) (r *http.Request, body string, err error) {
	r, err = http.ReadRequest(bufio.NewReader(strings.NewReader(in)))
	if err != nil {
		return nil, "", err
	}
	b, err := io.ReadAll(r.Body)
	return r, string(b), err
}

// checkRequest compares with net/http: we take nothing that it refuses, but for
// what it has no word for, and what both take is the same.
func checkRequest(t *testing.T, in string) {
	t.Helper()
	got, connErr := collect(t, feed(in), h1.Config{})
	if len(got) == 0 || got[0].Err != nil || got[0].AsksTunnel() {
		return // what we refuse it may take; tunnels it does not know
	}
	if !errors.As(connErr, new(*h1.MessageError)) && connErr != nil && len(got) == 1 {
		t.Logf("behind the first request: %v", connErr)
	}
	r, body, err := oracleRequest(strings.TrimLeft(in, "\r\n"))
	us := got[0]
	if err != nil {
		// net/http checks what a URL is made of, bounds no line and knows no
		// chunk extensions beyond its own bounds.
		if us.Path != "*" && !strings.ContainsAny(us.Path, "%") && !strings.Contains(us.Authority, "%") &&
			!us.Header.Has("trailer") && !strings.HasPrefix(us.Path, "//") && !strings.Contains(us.Authority, "[") {
			t.Errorf("we take what net/http refuses (%v): %q", err, in)
		}
		return
	}
	host := r.Host
	if us.Method != r.Method || us.Body != body || (us.Authority != host && !(us.Scheme != "" && strings.EqualFold(us.Authority, r.URL.Host))) {
		t.Errorf("we: %s %q %q\nnet/http: %s %q %q\nof %q", us.Method, us.Authority, us.Body, r.Method, host, body, in)
	}
	for _, f := range us.Header {
		name := strings.ToLower(f.Name)
		if name == "transfer-encoding" || name == "trailer" {
			continue // net/http moves them elsewhere
		}
		if want := r.Header.Values(f.Name); strings.Join(us.Header.Values(f.Name), "\n") != strings.Join(want, "\n") && name != "connection" && name != "upgrade" {
			t.Errorf("field %s: we %q, net/http %q, of %q", f.Name, us.Header.Values(f.Name), want, in)
		}
	}
}

func TestRequestsAsNetHTTPReadsThem(t *testing.T) {
	for _, tt := range valid {
		t.Run(tt.name, func(t *testing.T) { checkRequest(t, tt.in) })
	}
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) { checkRequest(t, tt.in) })
	}
}

func TestResponsesAsNetHTTPReadsThem(t *testing.T) {
	for _, tt := range responses {
		if tt.req.AsksTunnel() || len(tt.want.Informational) > 0 {
			continue // net/http obeys Content-Length in a 2xx to CONNECT
		}
		t.Run(tt.name, func(t *testing.T) {
			res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(tt.in)), &http.Request{Method: tt.req.Method})
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || string(body) != tt.want.Body || res.StatusCode != tt.want.Status {
				t.Errorf("net/http reads %d %q, %v", res.StatusCode, body, err)
			}
		})
	}
}

func FuzzRequest(f *testing.F) {
	for _, tt := range valid {
		f.Add(tt.in)
	}
	for _, tt := range refusals {
		if len(tt.in) < 1000 {
			f.Add(tt.in)
		}
	}
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > 1<<16 {
			return
		}
		whole := feed(in)
		got, err := collect(t, whole, validConfig)
		dripped := drip(in)
		again, againErr := collect(t, dripped, validConfig)
		if len(got) != len(again) || (err == nil) != (againErr == nil) {
			t.Fatalf("whole: %d requests, %v; dripping: %d, %v", len(got), err, len(again), againErr)
		}
		for i, r := range got {
			if r.Body != again[i].Body || (r.Err == nil) != (again[i].Err == nil) {
				t.Errorf("whole: %q, %v; dripping: %q, %v", r.Body, r.Err, again[i].Body, again[i].Err)
			}
			checkSendable(t, r.Request)
		}
		checkRequest(t, in)
	})
}

// checkSendable sends what was read and reads it again: the same head, on one
// line each.
func checkSendable(t *testing.T, r *codec.Request) {
	t.Helper()
	if r.Authority == "" {
		return
	}
	head := *r
	head.Header = r.Header.Clone()
	codec.StripHopByHop(&head.Header)
	text, err := sent(t, &head, h1.Config{})
	if err != nil {
		if r.Method == "POST" || r.Header.Has("content-length") || strings.HasSuffix(r.Authority, ":") {
			return // its length is not that of what is sent here
		}
		t.Errorf("%+v cannot be sent on: %v", r, err)
		return
	}
	again, _ := collect(t, feed(text), h1.Config{})
	if len(again) != 1 || again[0].Method != r.Method || again[0].Authority != r.Authority || again[0].Path != r.Path || again[0].Protocol != r.Protocol {
		t.Errorf("%+v became %+v by %q", r, again, text)
	}
}

func FuzzResponse(f *testing.F) {
	for _, tt := range responses {
		f.Add(tt.req.Method, tt.req.Protocol != "", tt.in)
	}
	f.Fuzz(func(t *testing.T, method string, up bool, in string) {
		if len(in) > 1<<16 {
			return
		}
		req := get("/")
		switch {
		case method == "CONNECT":
			req = connectTo("a:1")
		case method == "HEAD":
			req = head()
		case up:
			req = upgrade()
		}
		got, err := exchange(t, feed(in), req, h1.Config{})
		again, againErr := exchange(t, drip(in), req, h1.Config{})
		if (err == nil) != (againErr == nil) || got.Body != again.Body || (got.Response == nil) != (again.Response == nil) {
			t.Errorf("whole: %+v, %v; dripping: %+v, %v", got, err, again, againErr)
		}
		if err == nil && got.Reusable && (req.AsksTunnel() || strings.Contains(strings.ToLower(in), "connection: close")) {
			t.Errorf("the connection may be used again after %q", in)
		}
	})
}

func FuzzChunks(f *testing.F) {
	for _, tt := range refusals {
		if _, body, ok := strings.Cut(tt.in, chunked("")); ok && len(body) < 1000 {
			f.Add(body)
		}
	}
	f.Add("3; a=\"b;c\"\r\nhel\r\nA;x\r\n0123456789\r\n000;y\r\nX-T: 1\r\nx-t: 2\r\n\r\n")
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) <= 1<<16 {
			checkRequest(t, chunked(body))
		}
	})
}
