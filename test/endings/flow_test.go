package endings

import (
	"context"
	"fmt"
	"net"
	"time"

	"culvert/proxy/codec"
	"culvert/test/peer"
	"culvert/tunnel"
)

// flow is what came of a plan.
type flow struct {
	plan
	connect  peer.Result
	local    string // the application's address, to find it in logs
	app      *seen  // nil: it was never connected
	origin   *seen  // nil: nobody saw it there
	from, to epoch
	age      time.Duration // of from, when it began
	began    time.Time
	took     time.Duration
}

// run is the application's end of a flow.
func (w *world) run(ctx context.Context, p plan) *flow {
	f := &flow{plan: p, began: time.Now()}
	f.from, f.age = w.unrest.age()
	defer func() { f.to, f.took = w.unrest.now(), time.Since(f.began) }()
	dialer, address := w.target(p)
	patience := limit
	switch p.kind {
	case leaves:
		patience = p.app.after
	case idles: // near's patience also bounds its asking; then there is silence
		patience = 10 * idleTimeout
	}
	f.connect = peer.Connect(ctx, dialer, "tcp", address, patience)
	if f.connect.Err != nil {
		return f
	}
	c := f.connect.Conn.(*net.TCPConn)
	f.local = c.LocalAddr().String()
	_ = c.SetDeadline(f.began.Add(limit))
	if _, err := c.Write(hello(p.number)); err != nil {
		_ = c.Close()
		f.app = &seen{readErr: err, writeErr: err}
		return f
	}
	f.app = play(c, p.app, p.origin)
	return f
}

// join adds what the origin saw. Two connections of one flow are a complaint:
// what an application says is said once.
func (f *flow) join(o *origin) (complaint string) {
	ends := o.ends(f.number)
	for _, e := range ends {
		f.origin, f.to = e.seen, max(f.to, e.at)
	}
	if len(ends) > 1 {
		return fmt.Sprintf("was at the origin %d times", len(ends))
	}
	return ""
}

func (f *flow) calm() bool { return calm(f.from, f.to) }

// owed reports that the flow must have been carried. One that begins when the
// gateway has just come back may share the fate of an attempt to reach it that
// began before.
func (f *flow) owed() bool {
	return f.calm() && (f.from == first || f.age > connectTimeout)
}

// unreached reports that it was not carried although the gateway was there.
func (f *flow) unreached() bool {
	return f.calm() && f.origin == nil && f.kind < idles && (f.app == nil || f.app.acted == nothing)
}

// judge holds what the two ends were told against what they did.
func (f *flow) judge() (complaints []string) {
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	switch f.kind {
	case leaves:
		f.judgeLeft(complain)
		return complaints
	case refused:
		f.judgeRefused(complain)
		return complaints
	}
	if f.app == nil {
		if silent := f.kind == idles && f.connect.Outcome == peer.NothingWithinLimit; f.owed() && !silent {
			complain("could not connect: %v", f.connect)
		}
		return complaints
	}
	if f.origin == nil && f.owed() && f.app.acted == nothing {
		complain("never came to the origin")
	}
	f.judgeEnd("the application", f.app, f.origin, complain)
	if f.origin != nil {
		f.judgeEnd("the origin", f.origin, f.app, complain)
	}
	if f.calm() && f.origin != nil && f.kind != idles && f.app.acted == nothing && f.origin.acted == nothing && !f.complete() {
		complain("was cut without a reason")
	}
	return complaints
}

// judgeEnd looks at what one end was told.
func (f *flow) judgeEnd(who string, me, other *seen, complain func(string, ...any)) {
	if me.wrong != nil {
		complain("%s read what was not sent: %v", who, me.wrong)
	}
	if me.hung() {
		complain("%s waited for ever", who)
	}
	if other != nil && me.read > other.wrote {
		complain("%s read %d bytes of %d", who, me.read, other.wrote)
	}
	if me.clean() && !f.truthful(me, other) && !f.indistinct(me) {
		complain("%s was told a clean end that there was not", who)
	}
}

// truthful reports that the clean end which me was told is one that other made,
// and that all before it has arrived.
func (f *flow) truthful(me, other *seen) bool {
	return other != nil && (other.ended || other.acted == closes) && me.read == other.wrote
}

// indistinct reports that a clean end may be that of a dead gateway's kernel:
// the origin cannot tell, nor can culvert where payload follows the heads as it
// is and in the clear (docs/tunnel-modes.md).
func (f *flow) indistinct(me *seen) bool {
	clear := f.mode.Proto == codec.HTTP11 && f.mode.Method == tunnel.MethodConnect && !f.mode.Secure
	return !f.calm() && (me == f.origin || clear)
}

func (f *flow) complete() bool {
	return f.app != nil && f.origin != nil &&
		f.app.complete(f.plan.app, f.plan.origin) && f.origin.complete(f.plan.origin, f.plan.app)
}

func (f *flow) judgeLeft(complain func(string, ...any)) {
	if f.connect.Err == nil {
		complain("connected to nobody")
	} else if f.owed() && f.connect.Outcome != peer.NothingWithinLimit {
		complain("was told %v before it left", f.connect)
	}
}

// A listener has accepted before the origin is asked: there it is a reset.
func (f *flow) judgeRefused(complain func(string, ...any)) {
	switch {
	case f.app != nil && f.captured:
		complain("connected to nobody")
	case f.app != nil && f.app.clean():
		complain("was told a clean end by nobody")
	case f.app != nil && f.app.hung():
		complain("waited for ever")
	case f.app == nil && f.owed() && f.connect.Outcome != peer.Refused && f.connect.Outcome != peer.ResetInstead:
		complain("was told %v", f.connect)
	}
}
