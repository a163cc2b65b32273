package network

import (
	"context"
	"sync"
	"time"
)

// Life is a context that ends by End, or with the one it began in. A flow that is
// idle keeps its contexts for hours, and those of the standard library are made
// for work that is brief: a map for the first that waits for its end, and an
// object for each. Those that wait for a Life are a list, and a Relay or another
// Life is in it by itself. To everyone else a Life is a context like others,
// context.Cause and context.AfterFunc included; its Err is context.Canceled.
//
// It begins by Begin, once, before it is used. Who begins it sees to it that it
// ends, or what it began in keeps it.
type Life struct {
	in watch // for the end of what it began in

	// guarded by mu
	mu      sync.Mutex
	values  context.Context // of what it began in; once it is over, a context canceled with its cause
	done    chan struct{}   // nil until somebody asks
	watches *watch          // those who are told of its end
}

var _ context.Context = (*Life)(nil)

// NewLife is a Life that has begun in ctx.
func NewLife(ctx context.Context) *Life {
	l := new(Life)
	l.Begin(ctx)
	return l
}

// Begin begins it in ctx: with its values, and ending when it does, at once where
// that is a Life.
func (l *Life) Begin(ctx context.Context) {
	l.values = valuesOf(ctx)
	l.in.begin(ctx, l)
}

// valuesOf is a context with the values of ctx that does not end.
func valuesOf(ctx context.Context) context.Context {
	if l, ok := ctx.(*Life); ok {
		ctx = l.current()
	}
	if ctx.Done() == nil {
		return ctx
	}
	return context.WithoutCancel(ctx)
}

// End ends it with a cause, unless it is over; nil is context.Canceled.
func (l *Life) End(cause error) {
	l.in.stop()
	l.lifeOver(cause)
}

func (l *Life) lifeOver(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.values.Err() != nil {
		return
	}
	// context.Cause asks nothing but a context of its own package.
	over, end := context.WithCancelCause(l.values)
	end(cause)
	l.values = over
	if l.done != nil {
		close(l.done)
	}
	for w := l.watches; w != nil; w = l.watches {
		l.removeLocked(w)
		w.who.lifeOver(context.Cause(over))
	}
}

// Deadline implements context.Context: there is none.
func (l *Life) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (l *Life) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = make(chan struct{})
		if l.values.Err() != nil {
			close(l.done)
		}
	}
	return l.done
}

// Err implements context.Context.
func (l *Life) Err() error { return l.current().Err() }

// Value implements context.Context.
func (l *Life) Value(key any) any { return l.current().Value(key) }

func (l *Life) current() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.values
}

// AfterFunc calls f on a goroutine of its own once the life is over. The
// standard library asks for it in the place of its own contexts' maps.
func (l *Life) AfterFunc(f func()) (stop func() bool) {
	w := &watch{who: afterLife(f)}
	w.join(l)
	return w.stop
}

// AfterEnd is context.AfterFunc, for less where ctx is a Life.
func AfterEnd(ctx context.Context, f func()) (stop func() bool) {
	if l, ok := ctx.(*Life); ok {
		return l.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

// mortal is who waits for the end of a Life. It is told with the life locked: it
// neither blocks nor asks it anything.
type mortal interface{ lifeOver(cause error) }

type afterLife func()

func (f afterLife) lifeOver(error) { go f() } // ends by itself, as context.AfterFunc's

// watch is the place of one who waits, in the list of a Life. In another context
// it waits as others do.
type watch struct {
	// immutable once begun
	who   mortal
	life  *Life       // nil: another context
	other func() bool // stops waiting there

	// guarded by life.mu
	next *watch
	at   **watch // what points here; nil: not in the list
}

func (w *watch) begin(ctx context.Context, who mortal) {
	w.who = who
	if l, ok := ctx.(*Life); ok {
		w.join(l)
		return
	}
	w.other = context.AfterFunc(ctx, func() { who.lifeOver(context.Cause(ctx)) })
}

// join tells who at once, if the life is over.
func (w *watch) join(l *Life) {
	w.life = l
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.values.Err() != nil {
		w.who.lifeOver(context.Cause(l.values))
		return
	}
	w.next, w.at = l.watches, &l.watches
	if w.next != nil {
		w.next.at = &w.next
	}
	l.watches = w
}

// stop reports whether who is not told, and will not be.
func (w *watch) stop() bool {
	if w.life == nil {
		return w.other()
	}
	w.life.mu.Lock()
	defer w.life.mu.Unlock()
	if w.at == nil {
		return false
	}
	w.life.removeLocked(w)
	return true
}

func (l *Life) removeLocked(w *watch) {
	*w.at = w.next
	if w.next != nil {
		w.next.at = w.at
	}
	w.next, w.at = nil, nil
}
