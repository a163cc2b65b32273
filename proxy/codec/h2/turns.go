package h2

import "sync"

// turn is a place in a queue: for the writer, or for connection credit. It is
// guarded by conn.mu; cond wakes its owner.
type turn struct {
	next  *turn
	cond  *sync.Cond
	st    *stream // for credit
	ready bool
}

// turnList is a queue of turns, first in first out.
type turnList struct{ head, tail *turn }

func (l *turnList) push(t *turn) {
	t.next = nil
	if l.tail == nil {
		l.head = t
	} else {
		l.tail.next = t
	}
	l.tail = t
}

func (l *turnList) pop() *turn {
	t := l.head
	if t != nil {
		l.remove(t)
	}
	return t
}

func (l *turnList) remove(t *turn) {
	var prev *turn
	for x := l.head; x != nil; prev, x = x, x.next {
		if x != t {
			continue
		}
		if prev == nil {
			l.head = t.next
		} else {
			prev.next = t.next
		}
		if l.tail == t {
			l.tail = prev
		}
		t.next = nil
		return
	}
}
