package h2

import (
	"time"

	"golang.org/x/net/http2"
)

// Envoy's rule against rapid reset (CVE-2023-44487, CVE-2025-8671): a
// connection ends when, of at least resetsJudged streams, half were reset
// within prematureAge of their opening; and as soon as half of resetsJudged
// were, however few there have been. What counts is the recent past: both
// numbers are halved each time twice resetsJudged streams are over, so that no
// number of streams that ended well pays for a flood (as in envoy#45077).
const (
	resetsJudged = 500
	prematureAge = time.Second
)

// floodState judges what a peer makes us do for nothing. Guarded by conn.mu.
type floodState struct {
	priority, updates budget
	perPriority       int // earned by opening a stream
	perUpdate         int // earned by each 16 KiB sent

	ended, premature int // server: streams over lately, and those of them reset early
	haste            haste
	pause            time.Duration // due before the next frame is read; the reading goroutine's
}

// haste is the pace of early resets. Each of them has made us do something that
// costs more than itself, a dial perhaps: a burst of them is taken as it comes,
// but beyond it they are read no faster than one in resetPause, so that a flood
// leaves the processor to others until it is judged.
type haste struct{ paid time.Time } // the resets so far are paid for then

const (
	resetBurst = 64
	resetPause = 2 * time.Millisecond // 250 of them take less than prematureAge
)

// reset notes one and returns how long to wait after it.
func (h *haste) reset(now time.Time) time.Duration {
	if h.paid.Before(now) {
		h.paid = now
	}
	h.paid = h.paid.Add(resetPause)
	return max(0, h.paid.Sub(now)-resetBurst*resetPause)
}

// budget is a count of frames the peer may send us: earned by what we did
// together, with a ceiling, so that what was earned by streams long gone does
// not pay for a flood now.
type budget struct{ left, most int }

func (b *budget) earn(n int) { b.left = min(b.left+n, b.most) }

func (b *budget) spend() bool { b.left--; return b.left >= 0 }

// Ceilings of the budgets, frames.
const (
	mostPriority = 10_000
	mostUpdates  = 1 << 17 // what 16 KiB steps over two windows of 16 MiB earn, and more
)

func (f *floodState) init(cfg Config) {
	f.perPriority = cfg.MaxPriorityFrames
	f.perUpdate = 2 * cfg.MaxWindowUpdates
	f.priority = budget{left: f.perPriority, most: max(mostPriority, f.perPriority)}
	f.updates = budget{left: 5, most: mostUpdates}
}

// opened notes a new stream.
func (f *floodState) opened() {
	f.priority.earn(f.perPriority)
	f.updates.earn(2)
}

// sent notes n bytes of DATA sent. Envoy counts frames; ours may be sixteen
// times larger than the usual, and a peer answers bytes.
func (f *floodState) sent(n int) {
	f.updates.earn((n + minMaxFrameSize - 1) / minMaxFrameSize * f.perUpdate)
}

func (f *floodState) windowUpdate(s *Stats) error {
	if f.updates.spend() {
		return nil
	}
	s.WindowUpdateFlood.Inc()
	return connError(http2.ErrCodeEnhanceYourCalm, "too many WINDOW_UPDATE frames")
}

func (f *floodState) priorityFrame(s *Stats) error {
	if f.priority.spend() {
		return nil
	}
	s.PriorityFlood.Inc()
	return connError(http2.ErrCodeEnhanceYourCalm, "too many PRIORITY frames")
}

// overLocked notes the end of a stream the peer opened. provoked: it was reset
// by the peer, or by us for what the peer did. It had lived so long.
func (f *floodState) overLocked(s *Stats, age time.Duration, provoked bool) error {
	f.ended++
	if provoked && age < prematureAge {
		f.premature++
		f.pause = f.haste.reset(time.Now())
	}
	if f.premature < resetsJudged/2 || (f.ended >= resetsJudged && 2*f.premature < f.ended) {
		if f.ended >= 2*resetsJudged {
			f.ended, f.premature = f.ended/2, f.premature/2
		}
		return nil
	}
	s.PrematureResets.Inc()
	return connError(http2.ErrCodeEnhanceYourCalm, "too many streams reset early")
}

// slowDown is called between frames.
func (c *conn) slowDown() {
	if d := c.flood.pause; d > 0 {
		c.flood.pause = 0
		c.beforeRead() // what has come for others does not wait
		time.Sleep(d)
	}
}

// emptyFrame judges frames that carry nothing (CVE-2019-9518). It is the
// reading goroutine's.
func (c *conn) emptyFrame(h frameHeader, endStream bool) error {
	if h.length > 0 || endStream {
		c.empty = 0
		return nil
	}
	c.empty++
	if c.empty <= c.cfg.MaxEmptyFrames {
		return nil
	}
	c.stats.EmptyFramesFlood.Inc()
	return connError(http2.ErrCodeEnhanceYourCalm, "too many empty frames")
}

// resetMemory remembers the streams we reset last, on which frames may still
// be under way; the oldest are forgotten. Guarded by conn.mu.
type resetMemory struct {
	ids  map[uint32]struct{}
	ring []uint32
	next int
}

// resetsRemembered is as many streams as a client may have open by default.
const resetsRemembered = 1024

func (m *resetMemory) add(id uint32) {
	if m.ids == nil {
		m.ids = make(map[uint32]struct{})
	}
	if len(m.ring) < resetsRemembered {
		m.ring = append(m.ring, id)
	} else {
		delete(m.ids, m.ring[m.next])
		m.ring[m.next] = id
		m.next = (m.next + 1) % resetsRemembered
	}
	m.ids[id] = struct{}{}
}

func (m *resetMemory) has(id uint32) bool {
	_, ok := m.ids[id]
	return ok
}
