package hcm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
)

// sniffTimeout bounds the wait for a cleartext client's first bytes.
const sniffTimeout = 15 * time.Second

// errALPN is a peer that negotiated a protocol which this manager does not
// speak.
var errALPN = errors.New("downstream negotiated another protocol")

// version is the HTTP version of a connection, and the connection with whatever
// had to be read to know it: what TLS negotiated, else codec_type, else HTTP/2
// if the first bytes are its preface (RFC 9113 §3.4).
func (h *HCM) version(ctx context.Context, c network.Conn, info *network.StreamInfo) (codec.Proto, network.Conn, error) {
	want := h.opt.codec
	switch {
	case info.ALPN == "h2" && want != hcmv3.HttpConnectionManager_HTTP1:
		return codec.HTTP2, c, nil
	case strings.HasPrefix(info.ALPN, "http/1") && want != hcmv3.HttpConnectionManager_HTTP2:
		return codec.HTTP11, c, nil
	case info.ALPN != "":
		return 0, c, fmt.Errorf("ALPN %q with codec_type %v: %w", info.ALPN, want, errALPN)
	case want == hcmv3.HttpConnectionManager_HTTP1:
		return codec.HTTP11, c, nil
	case want == hcmv3.HttpConnectionManager_HTTP2:
		return codec.HTTP2, c, nil
	}
	return sniff(ctx, c, info)
}

// sniff reads as far as the bytes are those of the preface.
func sniff(ctx context.Context, c network.Conn, info *network.StreamInfo) (codec.Proto, network.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, sniffTimeout)
	defer cancel()
	peek := network.PeekConn(c, info)
	for n := 1; ; n++ {
		ahead, err := peek.Ahead(ctx, n)
		got := string(ahead)
		switch {
		case strings.HasPrefix(got, h2.ClientPreface):
			c, _ = peek.Conn()
			return codec.HTTP2, c, nil
		case !strings.HasPrefix(h2.ClientPreface, got), errors.Is(err, io.EOF):
			c, _ = peek.Conn()
			return codec.HTTP11, c, nil
		case err != nil:
			return 0, c, fmt.Errorf("first bytes: %w", err)
		}
		n = len(ahead)
	}
}
