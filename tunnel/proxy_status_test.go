package tunnel

import (
	"strings"
	"testing"

	"culvert/proxy/network"

	"github.com/dunglas/httpsfv"
)

func TestProxyStatusRoundTrip(t *testing.T) {
	for r := network.ReasonUnknown; r <= network.ReasonLoop; r++ {
		v := ProxyStatus("culvert", r, "dial 192.0.2.1:80: because")
		got, ok := ParseProxyStatus([]string{v})
		if !ok {
			t.Fatalf("%v: %q is not understood", r, v)
		}
		if got.Verdict() != r.Verdict() && r != network.ReasonCanceled {
			t.Errorf("%v: %q means %v, verdict %v became %v", r, v, got, r.Verdict(), got.Verdict())
		}
	}
}

func TestProxyStatusText(t *testing.T) {
	tests := []struct{ name, details, want string }{
		{"culvert", "", `culvert;error=connection_refused`},
		{"culvert", "no", `culvert;error=connection_refused;details="no"`},
		{"gw.example:443", "", `gw.example:443;error=connection_refused`},
		{"1.2.3.4", "", `"1.2.3.4";error=connection_refused`},
		{"my gateway", "", `"my gateway";error=connection_refused`},
		{"culvert", "a\r\nSet-Cookie: x", `culvert;error=connection_refused;details="a??Set-Cookie: x"`},
		{"culvert", `quote " back \`, `culvert;error=connection_refused;details="quote \" back \\"`},
		{"g\u00fc", "\u00fc", `"g?";error=connection_refused;details="?"`},
	}
	for _, tt := range tests {
		if got := ProxyStatus(tt.name, network.ReasonConnectionRefused, tt.details); got != tt.want {
			t.Errorf("%q, %q: got %s, want %s", tt.name, tt.details, got, tt.want)
		}
	}
	long := ProxyStatus("culvert", network.ReasonDNS, strings.Repeat("x", 10_000))
	if len(long) > 2*maxDetails {
		t.Errorf("details of 10000 bytes made %d", len(long))
	}
}

func TestParseProxyStatus(t *testing.T) {
	tests := []struct {
		lines []string
		want  network.Reason
		ok    bool
	}{
		{nil, network.ReasonUnknown, false},
		{[]string{""}, network.ReasonUnknown, false},
		{[]string{"gw"}, network.ReasonUnknown, false},
		{[]string{"gw; error=connection_refused"}, network.ReasonConnectionRefused, true},
		// Closest to the destination first (RFC 9209 §2).
		{[]string{"inner; error=dns_error, outer; error=connection_refused"}, network.ReasonDNS, true},
		{[]string{"inner", "outer; error=connection_timeout"}, network.ReasonTimeout, true},
		{[]string{"inner; error=novel, outer; error=connection_timeout"}, network.ReasonTimeout, true},
		{[]string{`gw; error="connection_refused"`}, network.ReasonUnknown, false},
		{[]string{"(a b); error=connection_refused"}, network.ReasonUnknown, false},
		{[]string{"gw; error=connection_refused;"}, network.ReasonUnknown, false},
	}
	for _, tt := range tests {
		got, ok := ParseProxyStatus(tt.lines)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%q: got %v %v, want %v %v", tt.lines, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzParseProxyStatus(f *testing.F) {
	f.Add("gw; error=connection_refused; details=\"x\", b")
	f.Add("(a b);error=dns_error")
	f.Fuzz(func(t *testing.T, s string) {
		if r, ok := ParseProxyStatus([]string{s}); !ok && r != network.ReasonUnknown {
			t.Errorf("%q: reason %v without ok", s, r)
		}
	})
}

func FuzzProxyStatus(f *testing.F) {
	f.Add("culvert", "dial: \"x\"\r\n")
	f.Fuzz(func(t *testing.T, name, details string) {
		v := ProxyStatus(name, network.ReasonDNS, details)
		if strings.ContainsAny(v, "\r\n\x00") {
			t.Fatalf("%q, %q made %q", name, details, v)
		}
		if _, err := httpsfv.UnmarshalList([]string{v}); err != nil || v == "" {
			t.Fatalf("%q, %q made %q: %v", name, details, v, err)
		}
	})
}
