package cluster

import (
	"context"
	"time"

	"culvert/proxy/network"
)

// brief is how long an attempt beside the first lasts. One begins each headStart,
// so that there are two of them at once, and a SYN every 300 ms; the kernel's own
// repetitions come after a second, and ever later. Only the first is there for a
// peer that takes longer to answer.
const brief = 2 * headStart

// insistent is a connector for connections that many flows wait for: those of a
// pool. While a peer does not answer at all it is asked by other sockets, too,
// so that one that comes back is found soon and not when the kernel next tries.
// What the peer says, to the first, is the answer.
type insistent struct{ Connector }

// Connect implements Connector.
func (i insistent) Connect(ctx context.Context, to network.Address, check Check) (network.Conn, error) {
	if to.Kind != network.AddressIP {
		return i.Connector.Connect(ctx, to, check)
	}
	ctx, cancel := context.WithCancel(ctx)
	first, others := make(chan dialled), make(chan dialled)
	go connectInto(ctx, i.Connector, to, check, first) // ends with ctx; received below, or by abandon
	running := 0
	defer func() { cancel(); abandon(others, running) }()
	timer := time.NewTimer(headStart)
	defer timer.Stop()
	for {
		select {
		case r := <-first:
			return r.conn, r.err
		case r := <-others:
			running--
			if r.err == nil {
				cancel()
				abandon(first, 1)
				return r.conn, nil
			}
		case <-timer.C:
			running++
			go i.beside(ctx, to, check, others) // ends within brief; received above, or by abandon
			timer.Reset(headStart)
		}
	}
}

// beside is an attempt beside the first.
func (i insistent) beside(ctx context.Context, to network.Address, check Check, results chan<- dialled) {
	ctx, cancel := context.WithTimeout(ctx, brief)
	defer cancel()
	connectInto(ctx, i.Connector, to, check, results)
}

// abandon waits for attempts that are not wanted any more, and resets what they
// have made.
func abandon(results <-chan dialled, n int) {
	for range n {
		if late := <-results; late.conn != nil {
			late.conn.Abort(context.Canceled)
		}
	}
}
