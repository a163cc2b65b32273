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
	// ID is the stream's number on its connection.
	ID uint32
	// Fields are the request's header fields as they came, pseudo fields first.
	Fields []hpack.HeaderField

	conn *gatewayConn
	// guarded by conn.mu
	data      [][]byte // received and not yet taken
	ended     bool     // by the client
	resetCode *uint32  // by the client
	window    int64    // how much we may send
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
func (r *Request) Done() <-chan struct{} { return r.conn.done }

// Respond sends a response head: fields are names (lower case) and values by
// turns, and end ends the response with it.
func (r *Request) Respond(status int, end bool, fields ...string) error {
	list := []hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(status)}}
	return r.conn.writeFields(r.ID, end, append(list, pairs(fields)...))
}

// Trailers sends trailers, which end the response.
func (r *Request) Trailers(fields ...string) error {
	return r.conn.writeFields(r.ID, true, pairs(fields))
}

func pairs(fields []string) []hpack.HeaderField {
	var list []hpack.HeaderField
	for i := 0; i+1 < len(fields); i += 2 {
		list = append(list, hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return list
}

// Send sends data as the windows allow, waiting for them, and ends the
// response if end says so.
func (r *Request) Send(p []byte, end bool) error {
	for len(p) > 0 {
		n, err := r.conn.takeWindow(r, len(p))
		if err != nil {
			return err
		}
		if err := r.conn.write(func(fr *http2.Framer) error {
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
	return r.conn.write(func(fr *http2.Framer) error { return fr.WriteData(r.ID, true, nil) })
}

// Receive waits for data, and credits the client's windows with it. It is the
// caller's to keep. The end is ErrEnded, ErrReset or ErrGone.
func (r *Request) Receive() ([]byte, error) {
	b, err := r.conn.takeData(r)
	if err != nil || len(b) == 0 {
		return b, err
	}
	return b, r.conn.write(func(fr *http2.Framer) error {
		if err := fr.WriteWindowUpdate(0, uint32(len(b))); err != nil {
			return err
		}
		return fr.WriteWindowUpdate(r.ID, uint32(len(b)))
	})
}

// ResetCode is the error code with which the client reset the stream.
func (r *Request) ResetCode() (uint32, bool) {
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	if r.resetCode == nil {
		return 0, false
	}
	return *r.resetCode, true
}

// Reset resets the stream.
func (r *Request) Reset(code uint32) error {
	return r.conn.write(func(fr *http2.Framer) error {
		return fr.WriteRSTStream(r.ID, http2.ErrCode(code))
	})
}

// GoAway says on the connection that streams after last are not served; those
// up to it go on.
func (r *Request) GoAway(last uint32, code uint32) error {
	return r.conn.write(func(fr *http2.Framer) error {
		return fr.WriteGoAway(last, http2.ErrCode(code), []byte("as the test wants it"))
	})
}

// Settings sends a SETTINGS frame of the test's own.
func (r *Request) Settings(s ...http2.Setting) error {
	return r.conn.write(func(fr *http2.Framer) error { return fr.WriteSettings(s...) })
}

// Raw writes bytes as they are between two frames: for frames that no framer
// would write.
func (r *Request) Raw(b []byte) error { return r.conn.raw(b) }

// Vanish makes the gateway neither read nor write from now on, as if its
// machine were gone: PINGs stay without an answer, and no FIN is sent.
func (r *Request) Vanish() { r.conn.vanish() }

// HangUp closes the connection; with TLS, without a close_notify.
func (r *Request) HangUp() { r.conn.hangUp() }

// ResetConnection closes the connection with RST.
func (r *Request) ResetConnection() { reset(r.conn.socket) }
