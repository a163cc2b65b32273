package network

import "fmt"

// half is one direction of a relay.
type half struct {
	r        *relay
	src, dst *side
	count    func(int)
	poll     pollPath // nil: move waits
	ready    func()   // goes on, on a goroutine of its own
}

// pollPath is a path whose source calls when there is something to move: while
// there is nothing, no goroutine waits for it.
type pollPath interface {
	path
	// moveReady moves what is there. Idle, it calls ready when there is more.
	moveReady(count func(int), ready func()) (idle bool, readErr, writeErr error)
}

func (h *half) init(r *relay, src, dst *side, count func(int)) {
	*h = half{r: r, src: src, dst: dst, count: count}
	if h.poll, _ = src.path.(pollPath); h.poll != nil {
		h.ready = func() { go h.moveReady() } // ends when there is nothing to move
	}
}

// run moves both directions until both are over. Who waits for a direction that
// cannot be polled is this goroutine, if it can.
func (r *relay) run() {
	r.halvesLeft.Add(2)
	waits := &r.received
	if waits.poll != nil {
		waits = &r.sent
	}
	for _, h := range []*half{&r.received, &r.sent} {
		switch {
		case h.poll != nil:
			h.ready()
		case h != waits:
			go h.move() // ends with its source, or when both sides are aborted
		}
	}
	if waits.poll == nil {
		waits.move()
	}
	r.halvesLeft.Wait()
}

// move waits for what its source brings, until its end.
func (h *half) move() {
	readErr, writeErr := h.src.path.move(h.count)
	h.ended(readErr, writeErr)
}

func (h *half) moveReady() {
	if idle, readErr, writeErr := h.poll.moveReady(h.count, h.ready); !idle {
		h.ended(readErr, writeErr)
	}
}

// ended ends dst's sending direction as src's ended.
func (h *half) ended(readErr, writeErr error) {
	defer h.r.halvesLeft.Done()
	r, src, dst := h.r, h.src, h.dst
	if readErr == nil && writeErr == nil {
		// An EOF after a write has failed is no end: the writer was told of the
		// reset in the reader's place.
		if readErr = r.refusal(src); readErr == nil {
			writeErr = dst.CloseWrite()
		}
	}
	r.setRead(src)
	switch {
	case readErr != nil:
		r.setEnd(src, endFor(readErr))
		r.abortBehind(dst, fmt.Errorf("read: %w", readErr))
	case writeErr != nil:
		r.refuse(dst, writeErr)
		r.awaitRead(dst) // all that it sent is written to src
		r.abortBehind(src, fmt.Errorf("write: %w", writeErr))
	default:
		r.setEnd(src, EndFIN)
		r.halfDone()
	}
}
