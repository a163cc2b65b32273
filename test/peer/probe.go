package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// Dialer is who connects: a host of a topology, a namespace, a *net.Dialer.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Outcome is what an application is told about its connect.
type Outcome string

// The outcomes that tests tell apart; others are the error's own text.
const (
	Connected          Outcome = "connected"
	Refused            Outcome = "ECONNREFUSED"
	HostUnreachable    Outcome = "EHOSTUNREACH"
	NetUnreachable     Outcome = "ENETUNREACH"
	Denied             Outcome = "EACCES"
	ResetInstead       Outcome = "ECONNRESET"
	KernelTimedOut     Outcome = "ETIMEDOUT"
	NothingWithinLimit Outcome = "nothing"
)

// Result is one connect.
type Result struct {
	Outcome Outcome
	Took    time.Duration
	Err     error // nil if connected
	// Conn is the connection, if connected; the caller closes it.
	Conn net.Conn
}

func (r Result) String() string {
	return fmt.Sprintf("%s after %v", r.Outcome, r.Took.Round(time.Millisecond))
}

// Close closes the connection if there is one.
func (r Result) Close() {
	if r.Conn != nil {
		_ = r.Conn.Close()
	}
}

// Connect connects and notes what came of it, for no longer than limit.
func Connect(ctx context.Context, d Dialer, network, address string, limit time.Duration) Result {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	c, err := d.DialContext(ctx, network, address)
	return Result{Outcome: OutcomeOf(err), Took: time.Since(start), Err: err, Conn: c}
}

// OutcomeOf classifies the error of a connect.
func OutcomeOf(err error) Outcome {
	for _, o := range []struct {
		err error
		is  Outcome
	}{
		{err: syscall.ECONNREFUSED, is: Refused},
		{err: syscall.EHOSTUNREACH, is: HostUnreachable},
		{err: syscall.ENETUNREACH, is: NetUnreachable},
		{err: syscall.EACCES, is: Denied},
		{err: syscall.ECONNRESET, is: ResetInstead},
		{err: syscall.ETIMEDOUT, is: KernelTimedOut},
		{err: context.DeadlineExceeded, is: NothingWithinLimit},
	} {
		if errors.Is(err, o.err) {
			return o.is
		}
	}
	var timeout net.Error
	switch {
	case err == nil:
		return Connected
	case errors.As(err, &timeout) && timeout.Timeout():
		return NothingWithinLimit // net.Dialer's own word for a deadline
	}
	return Outcome(err.Error())
}
