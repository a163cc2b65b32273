package transport

import (
	"context"

	"culvert/proxy/network"
)

// rawUpstream is raw_buffer: bytes as they are.
type rawUpstream struct{}

func (rawUpstream) Wrap(_ context.Context, c network.Conn, _ Options) (network.Conn, error) {
	return c, nil
}
func (rawUpstream) Secure() bool { return false }

// rawDownstream is raw_buffer on the accepting side.
type rawDownstream struct{}

func (rawDownstream) Wrap(_ context.Context, c network.Conn, _ *network.StreamInfo) (network.Conn, error) {
	return c, nil
}
func (rawDownstream) Secure() bool { return false }
