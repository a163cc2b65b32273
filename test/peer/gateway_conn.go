package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Windows and frames of a gateway, bytes. The windows are large, so that only
// scripts which do not Receive make the client wait.
const (
	gatewayStreamWindow = 1 << 20
	gatewayConnWindow   = 16 << 20
	initialWindow       = 65535 // RFC 9113 §6.9.2
	maxFrame            = 16384 // what any client takes, RFC 9113 §4.2
)

// gatewayConn is one connection of a Gateway: a loop that reads frames, and
// scripts that write them.
type gatewayConn struct {
	// immutable
	socket net.Conn // what hangs up
	conn   net.Conn // what carries frames: socket, or TLS over it
	script Script
	done   chan struct{} // closed when the loop has ended

	// guarded by wmu, which may be held while writing
	wmu     sync.Mutex
	fr      *http2.Framer
	headers bytes.Buffer
	enc     *hpack.Encoder

	// guarded by mu; cond is signalled at every change
	mu         sync.Mutex
	cond       *sync.Cond
	streams    map[uint32]*Request
	window     int64 // of the connection, for sending
	peerStream int64 // what new streams may send
	over       bool
	vanished   bool

	scripts sync.WaitGroup
}

func serveGateway(ctx context.Context, c net.Conn, script Script) error {
	g := &gatewayConn{
		socket: c, conn: c, script: script, done: make(chan struct{}),
		fr: http2.NewFramer(c, c), streams: map[uint32]*Request{},
		window: initialWindow, peerStream: initialWindow,
	}
	if t, ok := c.(*tls.Conn); ok {
		g.socket = t.NetConn()
	}
	g.cond = sync.NewCond(&g.mu)
	g.enc = hpack.NewEncoder(&g.headers)
	g.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	g.fr.SetMaxReadFrameSize(1 << 20)
	err := g.run()
	g.end()
	if g.hasVanished() {
		<-ctx.Done() // the connection stays, and nothing is said on it
	}
	_ = g.socket.Close()
	g.scripts.Wait()
	return err
}

func (g *gatewayConn) run() error {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(g.conn, preface); err != nil {
		return fmt.Errorf("gateway: preface: %w", err)
	}
	if string(preface) != http2.ClientPreface {
		return fmt.Errorf("gateway: preface is %q", preface)
	}
	if err := g.write(func(fr *http2.Framer) error {
		if err := fr.WriteSettings(
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: gatewayStreamWindow},
			http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100},
			http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1},
		); err != nil {
			return err
		}
		return fr.WriteWindowUpdate(0, gatewayConnWindow-initialWindow)
	}); err != nil {
		return err
	}
	for {
		f, err := g.fr.ReadFrame()
		if g.hasVanished() {
			return nil
		}
		if err == nil {
			err = g.frame(f)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("gateway: %w", err)
		}
	}
}

func (g *gatewayConn) frame(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		g.headersFrame(f)
	case *http2.DataFrame:
		return g.dataFrame(f)
	case *http2.RSTStreamFrame:
		code := uint32(f.ErrCode)
		g.change(f.StreamID, func(r *Request) { r.resetCode = &code })
	case *http2.WindowUpdateFrame:
		g.windowFrame(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return g.write(func(fr *http2.Framer) error { return fr.WritePing(true, f.Data) })
		}
	case *http2.SettingsFrame:
		if !f.IsAck() {
			g.settingsFrame(f)
			return g.write(func(fr *http2.Framer) error { return fr.WriteSettingsAck() })
		}
	}
	return nil
}

func (g *gatewayConn) headersFrame(f *http2.MetaHeadersFrame) {
	g.mu.Lock()
	r, old := g.streams[f.StreamID]
	if !old {
		r = &Request{ID: f.StreamID, Fields: f.Fields, conn: g, window: g.peerStream}
		g.streams[f.StreamID] = r
	}
	r.ended = r.ended || f.StreamEnded()
	g.cond.Broadcast()
	g.mu.Unlock()
	if !old {
		g.scripts.Go(func() { g.script(r) }) // ends when the connection does
	}
}

func (g *gatewayConn) dataFrame(f *http2.DataFrame) error {
	g.change(f.StreamID, func(r *Request) {
		if len(f.Data()) > 0 {
			r.data = append(r.data, bytes.Clone(f.Data()))
		}
		r.ended = r.ended || f.StreamEnded()
	})
	// Padding counts against the windows, and no script takes it.
	padding := f.Length - uint32(len(f.Data()))
	if padding == 0 {
		return nil
	}
	return g.write(func(fr *http2.Framer) error {
		if err := fr.WriteWindowUpdate(0, padding); err != nil {
			return err
		}
		return fr.WriteWindowUpdate(f.StreamID, padding)
	})
}

func (g *gatewayConn) windowFrame(f *http2.WindowUpdateFrame) {
	if f.StreamID != 0 {
		g.change(f.StreamID, func(r *Request) { r.window += int64(f.Increment) })
		return
	}
	g.mu.Lock()
	g.window += int64(f.Increment)
	g.cond.Broadcast()
	g.mu.Unlock()
}

// settingsFrame takes up the client's stream window, also for open streams
// (RFC 9113 §6.9.2).
func (g *gatewayConn) settingsFrame(f *http2.SettingsFrame) {
	v, ok := f.Value(http2.SettingInitialWindowSize)
	if !ok {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.streams {
		r.window += int64(v) - g.peerStream
	}
	g.peerStream = int64(v)
	g.cond.Broadcast()
}

func (g *gatewayConn) change(id uint32, fn func(*Request)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r, ok := g.streams[id]; ok {
		fn(r)
		g.cond.Broadcast()
	}
}

// takeWindow waits until r may send something, and takes at most want of it.
func (g *gatewayConn) takeWindow(r *Request, want int) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		switch {
		case g.over:
			return 0, ErrGone
		case r.resetCode != nil:
			return 0, ErrReset
		case g.window > 0 && r.window > 0:
			n := min(int64(want), g.window, r.window, maxFrame)
			g.window -= n
			r.window -= n
			return int(n), nil
		}
		g.cond.Wait()
	}
}

// takeData waits for what r has received.
func (g *gatewayConn) takeData(r *Request) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		switch {
		case r.resetCode != nil:
			return nil, ErrReset
		case len(r.data) > 0:
			b := r.data[0]
			r.data = r.data[1:]
			return b, nil
		case r.ended:
			return nil, ErrEnded
		case g.over:
			return nil, ErrGone
		}
		g.cond.Wait()
	}
}

func (g *gatewayConn) write(fn func(*http2.Framer) error) error {
	g.wmu.Lock()
	defer g.wmu.Unlock()
	if g.isOver() {
		return ErrGone
	}
	return fn(g.fr)
}

func (g *gatewayConn) writeFields(id uint32, end bool, list []hpack.HeaderField) error {
	g.wmu.Lock()
	defer g.wmu.Unlock()
	if g.isOver() {
		return ErrGone
	}
	g.headers.Reset()
	for _, f := range list {
		if err := g.enc.WriteField(f); err != nil {
			return err
		}
	}
	return g.fr.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: g.headers.Bytes(), EndStream: end, EndHeaders: true,
	})
}

func (g *gatewayConn) raw(b []byte) error {
	g.wmu.Lock()
	defer g.wmu.Unlock()
	if g.isOver() {
		return ErrGone
	}
	_, err := g.conn.Write(b)
	return err
}

func (g *gatewayConn) vanish() {
	g.mu.Lock()
	g.vanished, g.over = true, true
	g.cond.Broadcast()
	g.mu.Unlock()
	// The loop, which may be reading, ends; the connection does not.
	_ = g.socket.SetReadDeadline(time.Unix(1, 0))
}

func (g *gatewayConn) hangUp() { _ = g.socket.Close() }

// end wakes the scripts: nothing more will happen.
func (g *gatewayConn) end() {
	g.mu.Lock()
	g.over = true
	g.cond.Broadcast()
	g.mu.Unlock()
	close(g.done)
}

func (g *gatewayConn) isOver() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.over
}

func (g *gatewayConn) hasVanished() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.vanished
}
