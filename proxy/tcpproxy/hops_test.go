package tcpproxy

import (
	"context"
	"io"
	"testing"

	"culvert/proxy/network"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

// chunkEnd moves chunks, and wants nobody to make it copy.
type chunkEnd struct {
	network.Conn
	t *testing.T
}

func (c *chunkEnd) Read([]byte) (int, error) {
	c.t.Error("Read: the relay copies")
	return 0, io.ErrUnexpectedEOF
}

func (c *chunkEnd) Write([]byte) (int, error) {
	c.t.Error("Write: the relay copies")
	return 0, io.ErrClosedPipe
}

func (c *chunkEnd) ReadChunk() (*network.Chunk, error) {
	chunk := network.NewChunk(network.ChunkSmall)
	n, err := c.Conn.Read(chunk.Space())
	if n == 0 {
		chunk.Release()
		return nil, err
	}
	chunk.Data = chunk.Space()[:n]
	return chunk, nil
}

func (c *chunkEnd) WriteChunk(chunk *network.Chunk) error {
	defer chunk.Release()
	_, err := c.Conn.Write(chunk.Data)
	return err
}

// chunkFlow is a flow whose connection is a chunkEnd.
type chunkFlow struct {
	*fakeFlow
	end *chunkEnd
}

func (f *chunkFlow) Accept(ctx context.Context) (network.Conn, error) {
	_, err := f.fakeFlow.Accept(ctx)
	return f.end, err
}

// Behind three hops, the relay has the bare ends: what the flow came with, and
// what was opened for it.
func TestHopsHandOnTheBareEnds(t *testing.T) {
	near, origin := newPipe()
	up := &chunkEnd{near, t}
	open := openFunc(func(context.Context, *network.StreamInfo) (network.Conn, network.Handler, error) {
		return up, nil, nil
	})
	var first *rig
	for range 4 {
		first = newRig(t, &tcpproxyv3.TcpProxy{}, open)
		open = innerCluster(first.proxy.ServeFlow)
	}
	f, app := newFlow()
	_, _ = app.Write([]byte("question"))
	_, _ = origin.Write([]byte("answer"))
	_, _ = app.CloseWrite(), origin.CloseWrite()
	if err := first.proxy.ServeFlow(t.Context(), &chunkFlow{f, &chunkEnd{f.conn, t}}); err != nil {
		t.Error(err)
	}
	for end, want := range map[*pipeEnd]string{origin: "question", app: "answer"} {
		if got, err := io.ReadAll(end); err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if in, out := f.info.Meter.BytesReceived(), f.info.Meter.BytesSent(); in != 8 || out != 6 {
		t.Errorf("outermost counts %d and %d bytes", in, out)
	}
}
