package proxyprotocol

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	proxyproto "github.com/pires/go-proxyproto"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	const ends = "c0000201c633640203e801bb"
	v6Ends := "20010db8000000000000000000000001" + "20010db8000000000000000000000002" + "03e801bb"
	hexV2 := func(s string) string { return string(unhex(t, sigV2+s)) }
	for _, c := range []struct {
		name string
		in   string
		v    Version
		want string // source, destination, TLVs; "local"; or empty for an error
	}{
		{"v1 TCP4", "PROXY TCP4 192.0.2.1 198.51.100.2 1000 443\r\n", V1, "192.0.2.1:1000 198.51.100.2:443"},
		{"v1 TCP6", "PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n", V1, "[2001:db8::1]:1000 [2001:db8::2]:443"},
		{"v1 UNKNOWN", "PROXY UNKNOWN\r\n", V1, "local"},
		{"v1 UNKNOWN with more", "PROXY UNKNOWN ffff:: ffff:: 1 2\r\n", V1, "local"},
		{"v1 longest", "PROXY UNKNOWN " + strings.Repeat("f", 107-16) + "\r\n", V1, "local"},
		{"v1 too long", "PROXY UNKNOWN " + strings.Repeat("f", 108-16) + "\r\n", V1, ""},
		{"v1 bare LF", "PROXY TCP4 192.0.2.1 198.51.100.2 1000 443\n", V1, ""},
		{"v1 two spaces", "PROXY TCP4  192.0.2.1 198.51.100.2 1000 443\r\n", V1, ""},
		{"v1 one more word", "PROXY TCP4 192.0.2.1 198.51.100.2 1000 443 x\r\n", V1, ""},
		{"v1 one word less", "PROXY TCP4 192.0.2.1 198.51.100.2 1000\r\n", V1, ""},
		{"v1 port with a zero", "PROXY TCP4 192.0.2.1 198.51.100.2 01000 443\r\n", V1, ""},
		{"v1 port with a sign", "PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n", V1, ""},
		{"v1 port too great", "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n", V1, ""},
		{"v1 octal address", "PROXY TCP4 192.0.2.01 198.51.100.2 1 443\r\n", V1, ""},
		{"v1 IPv6 in TCP4", "PROXY TCP4 ::1 ::1 1 443\r\n", V1, ""},
		{"v1 IPv4 in TCP6", "PROXY TCP6 192.0.2.1 198.51.100.2 1 443\r\n", V1, ""},
		{"v1 zone", "PROXY TCP6 fe80::1%eth0 fe80::2 1 443\r\n", V1, ""},
		{"v1 UDP", "PROXY UDP4 192.0.2.1 198.51.100.2 1 443\r\n", V1, ""},
		{"v1 lower case", "PROXY tcp4 192.0.2.1 198.51.100.2 1 443\r\n", V1, ""},
		{"v1 unspecified", "PROXY TCP4 0.0.0.0 198.51.100.2 1 443\r\n", V1, ""},
		{"v1 multicast", "PROXY TCP4 192.0.2.1 224.0.0.1 1 443\r\n", V1, ""},
		{"v1 broadcast", "PROXY TCP4 255.255.255.255 192.0.2.1 1 443\r\n", V1, ""},
		{"v2 IPv4", hexV2("2111" + "000c" + ends), V2, "192.0.2.1:1000 198.51.100.2:443"},
		{"v2 IPv6", hexV2("2121" + "0024" + v6Ends), V2, "[2001:db8::1]:1000 [2001:db8::2]:443"},
		{"v2 TLVs", hexV2("2111" + "0017" + ends + "e00003" + "616263" + "0400020000"), V2, "192.0.2.1:1000 198.51.100.2:443 e0=abc"},
		{"v2 an empty TLV", hexV2("2111" + "000f" + ends + "e00000"), V2, "192.0.2.1:1000 198.51.100.2:443 e0="},
		{"v2 a truncated TLV", hexV2("2111" + "0010" + ends + "e0000561"), V2, ""},
		{"v2 half a TLV", hexV2("2111" + "000e" + ends + "e000"), V2, ""},
		{"v2 LOCAL", hexV2("2000" + "0000"), V2, "local"},
		{"v2 LOCAL with ends", hexV2("2011" + "000c" + ends), V2, "local"},
		{"v2 LOCAL with less", hexV2("2011" + "0002" + "ffff"), V2, "local"},
		{"v2 UNSPEC", hexV2("2100" + "0000"), V2, ""},
		{"v2 datagrams", hexV2("2112" + "000c" + ends), V2, ""},
		{"v2 unix", hexV2("2131" + "00d8" + strings.Repeat("61", 216)), V2, ""},
		{"v2 version 1", hexV2("1111" + "000c" + ends), V2, ""},
		{"v2 unknown command", hexV2("2211" + "000c" + ends), V2, ""},
		{"v2 unknown family", hexV2("2141" + "000c" + ends), V2, ""},
		{"v2 addresses cut", hexV2("2111" + "000b" + ends[:22]), V2, ""},
		{"v2 too long", hexV2("2111" + "1001" + ends + strings.Repeat("00", 5000)), V2, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if v, decided := Detect([]byte(c.in), V1, V2); v != c.v || !decided {
				t.Fatalf("detected %s, %v", v, decided)
			}
			h, n, err := Parse([]byte(c.in+"payload"), c.v)
			if c.want == "" {
				if err == nil || errors.Is(err, ErrIncomplete) {
					t.Errorf("accepted: %+v, %v", h, err)
				}
				return
			}
			if err != nil || n != len(c.in) {
				t.Fatalf("%d of %d bytes, %v", n, len(c.in), err)
			}
			if got := describe(h); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			for i := range c.in { // no part of it is taken for the whole
				part := []byte(c.in[:i])
				if v, decided := Detect(part, V1, V2); !decided {
					continue
				} else if v != c.v {
					t.Fatalf("%d bytes: detected %s", i, v)
				}
				if _, more, err := Parse(part, c.v); !errors.Is(err, ErrIncomplete) || more <= i || more > len(c.in) {
					t.Fatalf("%d bytes: wants %d, %v", i, more, err)
				}
			}
		})
	}
}

func describe(h *Header) string {
	if h.Local {
		return "local"
	}
	s := h.Source.String() + " " + h.Destination.String()
	for _, t := range h.TLVs {
		s += " " + hex.EncodeToString([]byte{t.Type}) + "=" + string(t.Value)
	}
	return s
}

func TestChecksum(t *testing.T) {
	b := unhex(t, sigV2+"2111"+"0016"+"c0000201c633640203e801bb"+"03000400000000"+"e00000")
	at := len(b) - 7
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	h, _, err := Parse(b, V2)
	if err != nil || len(h.TLVs) != 1 {
		t.Errorf("a right checksum: %+v, %v", h, err)
	}
	b[at] ^= 1
	if _, _, err := Parse(b, V2); err == nil {
		t.Error("a wrong checksum is accepted")
	}
}

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		in      string
		among   []Version
		want    Version
		decided bool
	}{
		{"", []Version{V1, V2}, 0, false},
		{"P", []Version{V1, V2}, 0, false},
		{"PROXY", []Version{V1, V2}, 0, false},
		{"PROXY ", []Version{V1, V2}, V1, true},
		{"PROXY ", []Version{V2}, 0, true},
		{"PROXYx", []Version{V1, V2}, 0, true},
		{"POST / HTTP/1.1", []Version{V1, V2}, 0, true},
		{"\r\n", []Version{V1, V2}, 0, false},
		{"\r\n", []Version{V1}, 0, true},
		{string(proxyproto.SIGV2), []Version{V1, V2}, V2, true},
		{"x", nil, 0, true},
	} {
		if v, decided := Detect([]byte(c.in), c.among...); v != c.want || decided != c.decided {
			t.Errorf("%q among %v: %s, %v", c.in, c.among, v, decided)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.2 1000 443\r\nGET"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add(unhex(f, sigV2+"2111"+"0017"+"c0000201c633640203e801bb"+"e00003"+"616263"+"0400020000"))
	f.Add(unhex(f, sigV2+"2000"+"0000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, decided := Detect(b, V1, V2)
		if !decided || v == 0 {
			return
		}
		h, n, err := Parse(b, v)
		switch {
		case errors.Is(err, ErrIncomplete):
			if n <= len(b) || n > maxV2 {
				t.Fatalf("%d bytes, wants %d", len(b), n)
			}
			return
		case err != nil:
			return
		}
		if n > len(b) || (v == V1 && n > maxV1) || h.Version != v {
			t.Fatalf("%d of %d bytes as %s", n, len(b), h.Version)
		}
		if !h.Local && (h.Source.IsZero() || h.Destination.IsZero()) {
			t.Fatalf("no ends: %+v", h)
		}
		again, m, err := Parse(b[:n], v) // what is behind the header has no say
		if err != nil || m != n || describe(again) != describe(h) {
			t.Fatalf("alone: %+v, %d, %v", again, m, err)
		}
	})
}
