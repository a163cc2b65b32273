package hostile

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// How a connection of an attack may end.
const (
	calmed   = "GOAWAY ENHANCE_YOUR_CALM"
	refused  = "GOAWAY PROTOCOL_ERROR"
	hungUpOn = "closed" // the GOAWAY, if there was one, went down with the connection
	borne    = "borne"  // the victim went on: what it did was bounded
)

// lastPing asks whether everything before it has been dealt with.
var lastPing = [8]byte{'t', 'h', 'e', ' ', 'e', 'n', 'd'}

// answerTime is how long a victim may take to act on what it has been sent.
const answerTime = 20 * time.Second

// round is one connection of an attack.
type round struct {
	sent    int64 // bytes
	answers int64
	ended   string // how
}

// attackOnce runs an attack on one connection, until ctx ends at the latest. A
// step that takes longer is waited for.
func attackOnce(ctx context.Context, nc net.Conn, k attack) round {
	a := newAttacker(nc, int(min(k.budget()/4, 16<<10)))
	_ = nc.SetDeadline(time.Now().Add(answerTime))
	var wg sync.WaitGroup
	read := sync.OnceFunc(func() { wg.Go(a.read) }) // ends with the connection
	if !k.unread {
		read()
	}
	toTheEnd := k.ends[0] != borne // it goes on until it is thrown out
	err := k.prepare(a)
	for err == nil && k.again != nil && a.sent+int64(a.out.Buffered()) < k.budget() && (toTheEnd || ctx.Err() == nil) && !a.hasEnded() {
		err = k.again(a)
	}
	if err == nil {
		err = a.out.Flush()
	}
	if k.unread && !toTheEnd && err == nil {
		<-ctx.Done()
	}
	read()
	if err == nil {
		err = a.awaitEnd(ctx, k)
	}
	_ = nc.Close()
	wg.Wait()
	return round{a.sent, a.answers, a.outcome(err)}
}

// awaitEnd waits until the victim has dealt with all it was sent: it hangs up, or
// it answers a PING. Who holds things waits for ctx. The connection has a deadline.
func (a *attacker) awaitEnd(ctx context.Context, k attack) error {
	var over <-chan struct{}
	switch {
	case k.ends[0] != borne:
	case k.holds, k.unread:
		over = ctx.Done()
	default:
		if err := errors.Join(a.WritePing(false, lastPing), a.out.Flush()); err != nil {
			return err
		}
	}
	select {
	case <-over:
	case <-a.dealt:
	case <-a.ended:
	}
	return nil
}

// outcome is how the connection ended.
func (a *attacker) outcome(err error) string {
	switch {
	case a.goaway != nil && a.goaway.ErrCode == http2.ErrCodeEnhanceYourCalm:
		return calmed
	case a.goaway != nil && a.goaway.ErrCode == http2.ErrCodeProtocol:
		return refused
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(a.readErr, os.ErrDeadlineExceeded):
		return "no answer in time"
	case err == nil && errors.Is(a.readErr, net.ErrClosed): // by us
		return borne
	}
	return hungUpOn
}
