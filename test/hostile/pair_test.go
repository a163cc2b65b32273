package hostile

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"culvert/test/peer"
	"culvert/test/program"
	"culvert/test/topology"
)

// pair is two culverts and an origin behind them, on one host:
//
//	test ── TCP ──▶ near ── HTTP/2, HTTP/1.1 CONNECT ──▶ far ── TCP ──▶ origin (test)
//	                 └─────────────────── TCP ──────────────────────────▲
type pair struct {
	t         *testing.T
	host      *topology.Host
	near, far process
	nearStats *program.Culvert
	origin    *flowServer
}

func newPair(t *testing.T) *pair {
	t.Helper()
	h := topology.New(t).Host("box")
	limitSockets(t, h)
	p := &pair{t: t, host: h, origin: &flowServer{}}
	peer.Serve(t, h.Listen("tcp", flowOrigin), p.origin.serve)
	start := func(name string, config func(string) string) *program.Culvert {
		dir := t.TempDir()
		return program.StartCulvert(t, program.Spec{Host: h, Binary: binary, Dir: dir, Name: name, Config: config(dir)})
	}
	far := start("far", farConfig)
	p.nearStats = start("near", nearConfig)
	p.far, p.near = process{t, far.Cmd.Process.Pid}, process{t, p.nearStats.Cmd.Process.Pid}
	return p
}

// resident is the memory of both culverts, bytes.
func (p *pair) resident() int64 { return p.near.resident() + p.far.resident() }

// What the first byte of a flow asks the origin to do.
const (
	pours   = 'p' // sends without end
	ignores = 'i' // reads no more
	echoes  = 'e'
)

// flowServer is the origin of flows.
type flowServer struct{ poured atomic.Int64 }

func (s *flowServer) serve(ctx context.Context, c net.Conn) error {
	defer func() { _ = c.Close() }()
	var what [1]byte
	if _, err := io.ReadFull(c, what[:]); err != nil {
		return err
	}
	switch what[0] {
	case pours:
		piece := make([]byte, 64<<10)
		for {
			n, err := c.Write(piece)
			s.poured.Add(int64(n))
			if err != nil {
				return nil // whoever asked has gone
			}
		}
	case ignores:
		<-ctx.Done()
	case echoes:
		return peer.Echo()(ctx, c)
	}
	return nil
}

// open opens a flow and says what it is to be.
func (p *pair) open(w way, what byte) net.Conn {
	p.t.Helper()
	c, err := p.host.Dial("tcp", w.address)
	if err != nil {
		p.t.Fatalf("%s: %v", w.name, err)
	}
	if _, err := c.Write([]byte{what}); err != nil {
		p.t.Fatalf("%s: %v", w.name, err)
	}
	return c
}
