package h1

import (
	"errors"
	"fmt"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

// serverStream is an exchange in the role of the server.
type serverStream struct{ *stream }

// newStream is the exchange of a request whose head took n bytes.
func (s *server) newStream(req *request, n int) *stream {
	st := &stream{
		c: &s.conn, id: s.served, head: req.Request, proto: req.Proto,
		tunnel: req.AsksTunnel(), base: s.base,
		expect: req.expect, wire: &network.WireMeter{},
	}
	st.wire.Received(n)
	st.wire.HeaderReceived(n)
	s.in.charge(st.wire)
	st.in.start(&s.conn, req.body)
	st.recvEnd = st.in.over()
	st.last = req.close || (s.cfg.MaxRequests > 0 && s.served >= uint64(s.cfg.MaxRequests))
	st.draining = s.asks
	s.setCurrent(st)
	return st
}

// EarlyData reports whether bytes came behind the head of a tunnel before it was
// answered, which RFC 9931 advises clients against.
func (s serverStream) EarlyData() bool { return s.tunnel && s.c.in.buffered() > 0 }

// WriteResponse sends a head. Informational ones come first, then one final.
//
// The codec frames the body as the head says: by its content-length, in chunks,
// or not at all (204, 304, HEAD, EndStream). A 2xx to CONNECT and a 101 to an
// upgrade make a tunnel of the exchange; their content-length and
// transfer-encoding are dropped. Any other answer to either ends the connection
// behind it (RFC 9931).
func (s serverStream) WriteResponse(res *codec.Response) error {
	st := s.stream
	st.writing.Lock()
	defer st.writing.Unlock()
	if err := st.headErr(); err != nil {
		return err
	}
	if res.Informational() {
		return st.inform(res)
	}
	a, err := st.plan(res)
	if err != nil {
		return err
	}
	buf, err := st.c.appendResponse(st.c.out.buffer(), res, a)
	if err != nil {
		return err
	}
	st.setAnswered(a)
	if a.switched {
		st.stopWatching() // before the peer is told that it may send
		st.payloadFollows()
	}
	n, err := st.c.nc.Write(buf)
	st.wroteHead(n)
	st.c.out.keep(buf)
	if err != nil {
		return st.didWrite(err, true)
	}
	if !res.EndStream {
		return nil
	}
	if a.switched {
		if err := st.c.nc.CloseWrite(); err != nil {
			return st.didWrite(err, true)
		}
	}
	st.sendEnded()
	return nil
}

// headErr is why no head can be sent now.
func (st *stream) headErr() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.cause != nil:
		return st.cause
	case st.sendErr != nil:
		return st.sendErr
	case st.answered:
		return errHeadSent
	}
	return nil
}

// inform sends a 1xx, which HTTP/1.0 does not know (RFC 9110 §15.2).
func (st *stream) inform(res *codec.Response) error {
	if st.proto == codec.HTTP10 {
		return nil
	}
	buf, err := st.c.appendResponse(st.c.out.buffer(), res, answer{})
	if err != nil {
		return err
	}
	if res.Status == 100 {
		st.mu.Lock()
		st.expect = false
		st.mu.Unlock()
	}
	n, err := st.c.nc.Write(buf)
	st.wroteHead(n)
	st.c.out.keep(buf)
	return st.didWrite(err, true)
}

// plan is how a final head is sent.
func (st *stream) plan(res *codec.Response) (answer, error) {
	a := answer{close: st.endsConnection() || hasToken(res.Header, "connection", "close")}
	switch {
	case res.Status < 100 || res.Status > 999:
		return a, fmt.Errorf("status %d cannot be sent", res.Status)
	case res.Status == 101 && (!st.tunnel || st.head.Protocol == ""):
		return a, errNotUpgrade
	case res.Status == 101:
		a.switched, a.body.kind, a.protocol = true, rawBody, res.Protocol
		if a.protocol == "" {
			a.protocol = st.head.Protocol
		}
		if !codec.ValidValue(a.protocol) {
			return a, errors.New("invalid upgrade protocol")
		}
		return a, nil
	case st.head.IsConnect() && res.Success():
		a.switched, a.body.kind = true, rawBody
		return a, nil
	case st.tunnel:
		a.close = true
	}
	return a, st.planBody(&a, res)
}

// planBody is how the body of an ordinary response is framed (RFC 9112 §6.3).
func (st *stream) planBody(a *answer, res *codec.Response) error {
	length, known, err := declaredLength(res.Header)
	if err != nil {
		return err
	}
	switch {
	case res.Status == 204:
		return nil
	case st.head.Method == "HEAD", res.Status == 304:
		a.length = true // it speaks of what a GET would bring
		return nil
	case res.EndStream && length > 0:
		return errTooShort
	case res.EndStream:
		a.length, a.zero = known, !known
	case known && length == 0:
		a.length = true
	case known:
		a.length, a.body = true, framing{kind: fixedBody, length: length}
	case st.proto == codec.HTTP10:
		a.body.kind = untilClose
	default:
		a.body.kind = chunkedBody
	}
	return nil
}

// endsConnection reports whether the connection is to end behind this exchange,
// as far as is known before the answer: also if the client still waits for a 100
// that does not come, since it may then send the body or not (CVE-2024-24791).
func (st *stream) endsConnection() bool {
	draining := st.draining()
	st.mu.Lock()
	defer st.mu.Unlock()
	if draining || (st.expect && !st.recvEnd) {
		st.last = true
	}
	return st.last
}

// setAnswered notes what the final head makes of the exchange.
func (st *stream) setAnswered(a answer) {
	st.out = a.body
	st.mu.Lock()
	defer st.mu.Unlock()
	st.answered, st.switched = true, a.switched
	st.last = st.last || a.close || a.switched
	if st.tunnel && !a.switched {
		// Nothing of what follows the head is anybody's.
		st.recvEnd, st.eofRead = true, true
	}
}
