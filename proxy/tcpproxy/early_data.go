package tcpproxy

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"culvert/proxy/network"
)

// defaultEarlyData is how much is taken early where only filter state asks for
// it, bytes.
const defaultEarlyData = 64 << 10

// earlyStep is how much an early read asks for, bytes: such a flow may be
// silent for long, and holds so much meanwhile.
const earlyStep = 4 << 10

// earlyData is what a flow says before its far half is open. To hear it the flow
// must be accepted, whatever comes of the far half.
type earlyData struct {
	conn network.Conn
	max  int // bytes; read on until it is exceeded

	// gone ends when the peer goes away, with the flow, or by lost when the
	// session is over.
	gone   context.Context
	lost   context.CancelCauseFunc
	first  chan struct{} // closed with the first byte
	done   chan struct{} // closed when nothing more is read early
	halt   sync.Once
	result network.Conn // owned by the session: what halt made of conn

	// owned by read until done is closed
	ahead []byte
	err   error
}

// takeEarly accepts a flow and begins to read from it, at most one byte beyond
// max. The caller stops it before it uses the connection.
func takeEarly(ctx context.Context, f network.Flow, max int, received func()) (*earlyData, error) {
	c, err := f.Accept(ctx)
	if err != nil {
		return nil, err
	}
	f.Info().AcceptedEarly = true
	e := &earlyData{conn: c, max: max, first: make(chan struct{}), done: make(chan struct{})}
	e.gone, e.lost = context.WithCancelCause(f.Context())
	go e.read(received) // ends by stop, which awaits it
	return e, nil
}

func (e *earlyData) read(received func()) {
	defer close(e.done)
	buf := make([]byte, min(earlyStep, e.max+1))
	for len(e.ahead) <= e.max {
		n, err := e.conn.Read(buf[:min(len(buf), e.max+1-len(e.ahead))])
		if n > 0 && len(e.ahead) == 0 {
			received()
			close(e.first)
		}
		e.ahead = append(e.ahead, buf[:n]...)
		if err == nil {
			continue
		}
		e.err = err
		if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
			e.lost(err)
		}
		return
	}
}

// stop ends the early reading and returns the connection, what was read first.
// It may be called more than once.
func (e *earlyData) stop() network.Conn {
	e.halt.Do(func() {
		_ = e.conn.SetReadDeadline(time.Unix(1, 0)) // fails only on a connection whose reads fail too
		<-e.done
		_ = e.conn.SetReadDeadline(time.Time{})
		if errors.Is(e.err, os.ErrDeadlineExceeded) {
			e.err = nil
		}
		e.result = network.Ahead(e.conn, e.ahead, e.err)
	})
	return e.result
}

// abort resets the connection.
func (e *earlyData) abort(cause error) {
	e.conn.Abort(cause)
	e.stop()
}

// awaitFirst waits for the first byte. False and no error: there was none, the
// flow has ended.
func (e *earlyData) awaitFirst(ctx context.Context) (bool, error) {
	select {
	case <-e.first:
		return true, nil
	case <-e.done:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	select {
	case <-e.first:
		return true, nil
	default:
	}
	if errors.Is(e.err, io.EOF) {
		return false, nil
	}
	return false, network.WithReason(network.ReasonCanceled, e.err)
}
