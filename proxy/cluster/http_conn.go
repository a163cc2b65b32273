package cluster

import (
	"context"

	"culvert/proxy/codec"
	"culvert/proxy/codec/h1"
	"culvert/proxy/codec/h2"
	"culvert/proxy/network"
)

// httpConn is a connection of an HTTP codec, client side.
type httpConn interface {
	// Run serves the connection until it is over, and owns what is beneath.
	Run(ctx context.Context) error
	OpenStream(ctx context.Context, head *codec.Request) (codec.ClientStream, error)
	// CanOpen reports that a stream would be taken now.
	CanOpen() bool
	// Drain takes no new streams and ends the connection with the last.
	Drain()
	// Close ends it now.
	Close(cause error)
}

// newHTTPConn puts the codec of the protocol on a connection. closed is called
// after each stream's Close.
func newHTTPConn(c network.Conn, p codec.Proto, s *httpSettings, id uint64, closed func()) httpConn {
	if p == codec.HTTP2 {
		cfg := s.h2.Buffering(s.window, s.mayGrow)
		cfg.ConnectionID, cfg.StreamClosed = id, closed
		return h2.NewClientConn(c, cfg)
	}
	cfg := s.h1
	cfg.ConnectionID, cfg.StreamClosed = id, closed
	return h1.NewClientConn(c, cfg)
}

// speech is which protocols a pool's connections may speak.
type speech uint8

const (
	speaksHTTP1 speech = iota
	speaksHTTP2
	speaksEither // the peer's ALPN decides: h2, else HTTP/1.1
)

// alpn is what is offered where the transport names no protocols.
func (s speech) alpn() []string {
	switch s {
	case speaksHTTP2:
		return []string{"h2"}
	case speaksEither:
		return []string{"h2", "http/1.1"}
	}
	return []string{"http/1.1"}
}

// proto is what a connection speaks whose peer chose the ALPN protocol chosen,
// empty if it chose none: then it speaks what whoever configured it said. False
// if the peer chose something else.
func (s speech) proto(chosen string) (codec.Proto, bool) {
	switch {
	case chosen == "h2" && s != speaksHTTP1, chosen == "" && s == speaksHTTP2:
		return codec.HTTP2, true
	case chosen == "http/1.1" && s != speaksHTTP2, chosen == "" && s != speaksHTTP2, chosen == "http/1.0" && s == speaksHTTP1:
		return codec.HTTP11, true
	}
	return 0, false
}
