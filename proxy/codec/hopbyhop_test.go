package codec_test

import (
	"testing"

	"culvert/proxy/codec"

	"github.com/google/go-cmp/cmp"
)

func TestStripHopByHop(t *testing.T) {
	for _, tt := range []struct {
		name     string
		in, want codec.Fields
	}{
		{"none", codec.Fields{{"A", "1"}, {"b", "2"}}, codec.Fields{{"A", "1"}, {"b", "2"}}},
		{"the fixed ones", codec.Fields{
			{"Connection", "close"}, {"Keep-Alive", "timeout=5"}, {"Proxy-Connection", "close"},
			{"Transfer-Encoding", "chunked"}, {"Upgrade", "websocket"}, {"HTTP2-Settings", "AA"}, {"A", "1"},
		}, codec.Fields{{"A", "1"}}},
		{"the named ones", codec.Fields{
			{"X-Hop", "1"}, {"connection", "x-hop, , other"}, {"Other", "2"}, {"A", "1"}, {"x-HOP", "3"},
		}, codec.Fields{{"A", "1"}}},
		{"named in several lines", codec.Fields{{"connection", "a"}, {"Connection", "b"}, {"a", ""}, {"b", ""}, {"c", ""}},
			codec.Fields{{"c", ""}}},
		{"an end-to-end field cannot be named", codec.Fields{
			{"connection", "x-forwarded-for, content-length, cookie, host"}, {"x-forwarded-for", "1"},
			{"content-length", "5"}, {"cookie", "c"}, {"host", "h"},
		}, codec.Fields{{"x-forwarded-for", "1"}, {"content-length", "5"}, {"cookie", "c"}, {"host", "h"}}},
		{"te", codec.Fields{{"TE", "gzip"}}, nil},
		{"te trailers", codec.Fields{{"TE", "trailers"}}, codec.Fields{{"TE", "trailers"}}},
		{"lengths that only look alike", codec.Fields{{"Keep-Alife", "1"}, {"upgrada", "2"}}, codec.Fields{{"Keep-Alife", "1"}, {"upgrada", "2"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.in.Clone()
			codec.StripHopByHop(&got)
			if len(got)+len(tt.want) > 0 && !cmp.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
