package cluster

import (
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestHTTPSettings(t *testing.T) {
	full := &corev3.Http2ProtocolOptions{
		MaxConcurrentStreams: u32(7), InitialStreamWindowSize: u32(70000), InitialConnectionWindowSize: u32(80000), HpackTableSize: u32(1),
		ConnectionKeepalive: &corev3.KeepaliveSettings{Interval: durationpb.New(second), Timeout: durationpb.New(2 * second)},
	}
	m := http2(t, static1("192.0.2.1:1"), full)
	m.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(second)} // the typed ones win
	s := &start(t, m, nil).http
	if s.speaks != speaksHTTP2 || s.maxStreams != 7 || s.h2.StreamWindow != 70000 || s.h2.ConnWindow != 80000 || s.h2.HeaderTableSize != 1 ||
		s.h2.KeepaliveInterval != second || s.h2.KeepaliveTimeout != 2*second || s.h2.IdleTimeout != time.Hour {
		t.Errorf("%+v", s)
	}
	old := static1("192.0.2.1:1")
	old.Http2ProtocolOptions = full
	old.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(0)}
	if s = &start(t, old, nil).http; s.speaks != speaksHTTP2 || s.maxStreams != 7 || s.h2.IdleTimeout >= 0 {
		t.Errorf("deprecated fields: %+v", s)
	}
}
