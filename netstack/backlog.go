package netstack

import (
	"container/list"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// maxOpening is how many connects are being opened at once; the others wait, each
// with little more than its SYN. So a burst finds room, and a flood costs little.
const maxOpening = 1024

// waits is how long a connect waits for its turn after its last SYN. A TCP that
// still wants it has repeated that after a second (RFC 6298 §2); one that repeats
// it later begins to wait anew.
const waits = 1500 * time.Millisecond

// backlog is the connects that wait for their turn. The sources take turns, so
// that none waits behind all that another has begun. It is guarded by gate.mu.
type backlog struct {
	waiting map[tcpip.Address]*list.List // of *entry by source, the first to come first
	turns   *list.List                   // of *list.List, the next one's first
	n       int
}

func newBacklog() backlog {
	return backlog{waiting: make(map[tcpip.Address]*list.List), turns: list.New()}
}

func (b *backlog) push(e *entry) {
	src := e.id.RemoteAddress
	l := b.waiting[src]
	if l == nil {
		l = list.New()
		b.waiting[src] = l
		b.turns.PushBack(l)
	}
	e.place = l.PushBack(e)
	b.n++
}

// next takes out whose turn it is, of those sources that may; nil if there is none.
func (b *backlog) next(may func(tcpip.Address) bool) *entry {
	for turn := b.turns.Front(); turn != nil; turn = turn.Next() {
		e := turn.Value.(*list.List).Front().Value.(*entry)
		if may(e.id.RemoteAddress) {
			b.turns.MoveToBack(turn)
			b.remove(e)
			return e
		}
	}
	return nil
}

// remove takes e out.
func (b *backlog) remove(e *entry) {
	src := e.id.RemoteAddress
	l := b.waiting[src]
	l.Remove(e.place)
	e.place = nil
	b.n--
	if l.Len() > 0 {
		return
	}
	delete(b.waiting, src)
	for turn := b.turns.Back(); turn != nil; turn = turn.Prev() { // it has just had its turn, mostly
		if turn.Value == l {
			b.turns.Remove(turn)
			return
		}
	}
}

// stale are those nobody seems to want any more.
func (b *backlog) stale(now time.Time) []*entry {
	var found []*entry
	for _, l := range b.waiting {
		for el := l.Front(); el != nil; el = el.Next() {
			if e := el.Value.(*entry); now.After(e.expires) {
				found = append(found, e)
			}
		}
	}
	return found
}
