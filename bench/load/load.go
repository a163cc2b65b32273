package load

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// patience is how long one step of an application may take.
const patience = 30 * time.Second

// Dial is how applications connect.
type Dial func(ctx context.Context) (net.Conn, error)

// Kind is what applications do.
type Kind string

// Kinds of loads.
const (
	// Down and Up move bytes as fast as they go, from the origin and to it.
	Down Kind = "down"
	Up   Kind = "up"
	// Connect connects, says a word, hears one and closes, again and again.
	Connect Kind = "connect"
	// PingPong sends 64 bytes and waits for them, again and again.
	PingPong Kind = "ping-pong"
	// Requests asks for a page of so many bytes in HTTP/1.1, again and again on
	// one connection.
	Requests Kind = "requests"
	// Burst connects once, all at the same moment, and is answered so many bytes.
	Burst Kind = "burst"
	// Idle connects once, is answered one byte, and stays.
	Idle Kind = "idle"
)

// Load is what several applications do at once.
type Load struct {
	Kind Kind
	// Streams is how many applications there are.
	Streams int
	// Duration is how long they go on; a Burst and Idle ones are once.
	Duration time.Duration
	// Size is of an answer to Requests and in a Burst, bytes.
	Size int
	// Hold is called when all Idle ones have been answered. They are open until it
	// returns.
	Hold func(context.Context)
}

// String is the load's name, which does not tell how long it takes, nor how many
// are Idle: as many as whoever is measured may have.
func (l Load) String() string {
	name := string(l.Kind)
	if l.Size > 0 {
		name += " of " + size(l.Size)
	}
	if l.Streams > 1 && l.Kind != Idle {
		name += fmt.Sprintf(" × %d", l.Streams)
	}
	return name
}

// WithDuration is loads that take so long.
func WithDuration(loads []Load, d time.Duration) []Load {
	out := slices.Clone(loads)
	for i := range out {
		out[i].Duration = d
	}
	return out
}

func size(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// Result is what came of a load.
type Result struct {
	// Bytes have arrived, of those that are counted: not those of Connect, PingPong
	// and Idle.
	Bytes int64
	// Turns are the connections of Connect, a Burst and Idle ones, the round trips
	// of PingPong, the answers to Requests.
	Turns int
	// Elapsed is from the first connect until the last end: what was still on
	// the way counts.
	Elapsed time.Duration
	// Latency is of a turn, half of which take less than P50.
	P50, P99 time.Duration
	// Connected is half of all connects' time.
	Connected time.Duration
}

// Run lets the applications work. The error is of the first one that was not
// served as it should be: a load that loses something is no measurement.
func (l Load) Run(ctx context.Context, dial Dial) (Result, error) {
	work := map[Kind]func(*application, context.Context) error{
		Down: (*application).down, Up: (*application).up,
		Connect: (*application).connects, PingPong: (*application).pingPong,
		Requests: (*application).requests, Burst: (*application).once,
	}[l.Kind]
	if l.Kind == Idle {
		return l.idle(ctx, dial)
	}
	if work == nil {
		return Result{}, fmt.Errorf("%q is no load", l.Kind)
	}
	start := time.Now()
	apps := make([]application, l.Streams)
	errs := make([]error, l.Streams)
	var wg sync.WaitGroup
	for i := range apps {
		apps[i] = application{dial: dial, until: start.Add(l.Duration), duration: l.Duration, size: l.Size}
		wg.Go(func() { errs[i] = work(&apps[i], ctx) }) // ends with the duration or ctx
	}
	wg.Wait()
	r := Result{Elapsed: time.Since(start)}
	var turns, connects []time.Duration
	for i := range apps {
		if errs[i] != nil {
			return r, fmt.Errorf("%v, application %d of %d: %w", l.Kind, i+1, l.Streams, errs[i])
		}
		r.Bytes += apps[i].bytes
		turns = append(turns, apps[i].turns...)
		connects = append(connects, apps[i].connected...)
	}
	r.Turns = len(turns)
	r.P50, r.P99, r.Connected = quantile(turns, 0.50), quantile(turns, 0.99), quantile(connects, 0.50)
	return r, nil
}

// quantile is 0 of nothing. It sorts its argument.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(int(q*float64(len(d))), len(d)-1)]
}
