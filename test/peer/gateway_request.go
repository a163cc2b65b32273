package peer

import (
	"errors"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Errors of a stream, seen by its script.
var (
	// ErrEnded: the client has ended its direction.
	ErrEnded = errors.New("peer: stream ended by the client")
	// ErrReset: the client has reset the stream; Request.ResetCode says how.
	ErrReset = errors.New("peer: stream reset by the client")
	// ErrGone: the connection is over, or the gateway has vanished.
	ErrGone = errors.New("peer: connection is gone")
)

// Request is one stream of a Gateway. Its methods are for the goroutine of its
// script; they fail once the stream or the connection is over.
type Request struct {
	// ID is the stream's number on its connection; the request's over HTTP/1.1.
	ID uint32
	// Fields are the request's header fields as they came, pseudo fields first.
	// Of HTTP/1.1 the names are in lower case, and the pseudo fields are made of
	// the request line and of Host, which stays.
	Fields []hpack.HeaderField
	// Line is the request line of HTTP/1.1.
	Line string

	conn carrier
	// guarded by conn's mu
	data      [][]byte // received and not yet taken
	ended     bool     // by the client
	resetCode *uint32  // by the client
	window    int64    // how much we may send
}

// carrier is the connection of a Request, of either version.
type carrier interface {
	respond(r *Request, status int, end bool, fields []string) error
	sendTrailers(r *Request, fields []string) error
	send(r *Request, p []byte, end bool) error
	receive(r *Request) ([]byte, error)
	resetBy(r *Request) (uint32, bool)
	reset(r *Request, code uint32) error
	goAway(last, code uint32) error
	settings(s ...http2.Setting) error
	raw(b []byte) error
	vanish()
	hangUp()
	resetConnection()
	ended() <-chan struct{}
}

// Get is the value of the first field of that name (lower case), "" for none.
func (r *Request) Get(name string) string {
	for _, f := range r.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Done is closed when the connection is over.
func (r *Request) Done() <-chan struct{} { return r.conn.ended() }

// Respond sends a response head: fields are names (lower case) and values by
// turns, and end ends the response with it. Over HTTP/1.1 the body of an answer
// that makes no tunnel of a CONNECT, and any of a POST, is chunked unless the
// fields say otherwise.
func (r *Request) Respond(status int, end bool, fields ...string) error {
	return r.conn.respond(r, status, end, fields)
}

// Trailers sends trailers, which end the response; a CONNECT over HTTP/1.1 has
// none, and ends.
func (r *Request) Trailers(fields ...string) error { return r.conn.sendTrailers(r, fields) }

// Send sends data as the windows allow, waiting for them, and ends the
// response if end says so.
func (r *Request) Send(p []byte, end bool) error { return r.conn.send(r, p, end) }

// Receive waits for data, and credits the client's windows with it. It is the
// caller's to keep. The end is ErrEnded, ErrReset or ErrGone.
func (r *Request) Receive() ([]byte, error) { return r.conn.receive(r) }

// ResetCode is the error code with which the client reset the stream; HTTP/1.1
// has no codes, and it is 0.
func (r *Request) ResetCode() (uint32, bool) { return r.conn.resetBy(r) }

// Reset resets the stream; over HTTP/1.1 the connection, and nobody learns the
// code.
func (r *Request) Reset(code uint32) error { return r.conn.reset(r, code) }

// GoAway says on the connection that streams after last are not served; those
// up to it go on. HTTP/2 only.
func (r *Request) GoAway(last uint32, code uint32) error { return r.conn.goAway(last, code) }

// Settings sends a SETTINGS frame of the test's own. HTTP/2 only.
func (r *Request) Settings(s ...http2.Setting) error { return r.conn.settings(s...) }

// Raw writes bytes as they are between two frames, or as the script says in
// HTTP/1.1: for what no framer would write.
func (r *Request) Raw(b []byte) error { return r.conn.raw(b) }

// Vanish makes the gateway neither read nor write from now on, as if its
// machine were gone: PINGs stay without an answer, and no FIN is sent.
func (r *Request) Vanish() { r.conn.vanish() }

// HangUp closes the connection; with TLS, without a close_notify.
func (r *Request) HangUp() { r.conn.hangUp() }

// ResetConnection closes the connection with RST.
func (r *Request) ResetConnection() { r.conn.resetConnection() }

func (g *gatewayConn) respond(r *Request, status int, end bool, fields []string) error {
	list := []hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(status)}}
	return g.writeFields(r.ID, end, append(list, pairs(fields)...))
}

func (g *gatewayConn) sendTrailers(r *Request, fields []string) error {
	return g.writeFields(r.ID, true, pairs(fields))
}

func pairs(fields []string) []hpack.HeaderField {
	var list []hpack.HeaderField
	for i := 0; i+1 < len(fields); i += 2 {
		list = append(list, hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return list
}

func (g *gatewayConn) send(r *Request, p []byte, end bool) error {
	for len(p) > 0 {
		n, err := g.takeWindow(r, len(p))
		if err != nil {
			return err
		}
		if err := g.write(func(fr *http2.Framer) error {
			return fr.WriteData(r.ID, end && n == len(p), p[:n])
		}); err != nil {
			return err
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
	}
	if !end {
		return nil
	}
	return g.write(func(fr *http2.Framer) error { return fr.WriteData(r.ID, true, nil) })
}

func (g *gatewayConn) receive(r *Request) ([]byte, error) {
	b, err := g.takeData(r)
	if err != nil || len(b) == 0 {
		return b, err
	}
	return b, g.write(func(fr *http2.Framer) error {
		if err := fr.WriteWindowUpdate(0, uint32(len(b))); err != nil {
			return err
		}
		return fr.WriteWindowUpdate(r.ID, uint32(len(b)))
	})
}

func (g *gatewayConn) resetBy(r *Request) (uint32, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.resetCode == nil {
		return 0, false
	}
	return *r.resetCode, true
}

func (g *gatewayConn) reset(r *Request, code uint32) error {
	return g.write(func(fr *http2.Framer) error {
		return fr.WriteRSTStream(r.ID, http2.ErrCode(code))
	})
}

func (g *gatewayConn) goAway(last, code uint32) error {
	return g.write(func(fr *http2.Framer) error {
		return fr.WriteGoAway(last, http2.ErrCode(code), []byte("as the test wants it"))
	})
}

func (g *gatewayConn) settings(s ...http2.Setting) error {
	return g.write(func(fr *http2.Framer) error { return fr.WriteSettings(s...) })
}

func (g *gatewayConn) resetConnection() { reset(g.socket) }

func (g *gatewayConn) ended() <-chan struct{} { return g.done }
