package cluster

import (
	"context"

	"culvert/proxy/codec"
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

func newHTTPConn(c network.Conn, cfg h2.Config) httpConn { return h2.NewClientConn(c, cfg) }
