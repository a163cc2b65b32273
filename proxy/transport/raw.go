package transport

import (
	"context"

	"culvert/proxy/network"
)

// raw is raw_buffer: bytes as they are.
type raw struct{}

func (raw) Wrap(_ context.Context, c network.Conn, _ Options) (network.Conn, error) { return c, nil }
func (raw) Secure() bool                                                            { return false }

type rawDownstream struct{}

func (rawDownstream) Wrap(_ context.Context, c network.Conn, _ *network.StreamInfo) (network.Conn, error) {
	return c, nil
}
func (rawDownstream) Secure() bool { return false }
