package endings

import (
	"fmt"
	"math/rand/v2"
	"time"

	"culvert/test/peer"
	"culvert/tunnel"
)

// kind is a way in which a flow may end.
type kind int

const (
	together     kind = iota // both send, and end their direction when they have
	appFirst                 // the origin sends only when the application has ended
	originFirst              // and the other way round
	appResets                // in the middle
	originResets             //
	appCloses                // with bytes that it has not read
	originCloses             //
	idles                    // both fall silent, until culvert has enough
	leaves                   // the application gives up before there is an answer
	refused                  // nobody listens at the origin
	kinds
)

func (k kind) String() string {
	return []string{
		"together", "app first", "origin first", "app resets", "origin resets",
		"app closes", "origin closes", "idle", "leaves", "refused",
	}[k]
}

// act is how an end ends a flow before its time.
type act int

const (
	nothing act = iota
	reset       // RST
	closes      // close(), whatever is unread
	falls       // says nothing any more, and waits
)

// script is what one end does.
type script struct {
	stream     peer.Stream
	chunk      int           // bytes in a write, at most
	pause      time.Duration // after each write
	afterPeer  bool          // begins to send when the peer has ended
	sluggish   time.Duration // before each read
	act        act
	after      time.Duration // of act, since the flow began
	neverReads bool          // so that something is unread
}

// plan is everything about one flow.
type plan struct {
	number   uint64
	mode     tunnel.Mode
	modeAt   int // index of mode
	kind     kind
	captured bool // by the TUN; else it connects to a listener
	app      script
	origin   script
}

func (p plan) String() string {
	way := "listener"
	if p.captured {
		way = "TUN"
	}
	return fmt.Sprintf("flow %d, %v, %v, by %s", p.number, p.mode, p.kind, way)
}

const (
	// maxBytes is what a flow carries in a direction at most.
	maxBytes = 512 << 10
	// maxLife is within which what an end does early happens, and about how long
	// a flow pauses in all.
	maxLife = 1500 * time.Millisecond
)

// planOf is the flow of that number.
func planOf(seed, number uint64) plan {
	r := rand.New(rand.NewPCG(seed, number))
	modes := tunnel.Modes()
	p := plan{number: number, modeAt: int(number % uint64(len(modes)))}
	p.mode = modes[p.modeAt]
	p.kind = kind(number / uint64(len(modes)) % uint64(kinds))
	p.captured = p.kind == leaves || r.IntN(2) == 0
	p.app, p.origin = scriptOf(r, 2*number), scriptOf(r, 2*number+1)
	early := time.Duration(r.Float64() * float64(maxLife))
	switch p.kind {
	case appFirst:
		p.origin.afterPeer = true
	case originFirst:
		p.app.afterPeer = true
	case appResets:
		p.app.act, p.app.after = reset, early
	case originResets:
		p.origin.act, p.origin.after = reset, early
	case appCloses:
		p.app.act, p.app.after, p.app.neverReads = closes, early, r.IntN(2) == 0
	case originCloses:
		p.origin.act, p.origin.after, p.origin.neverReads = closes, early, r.IntN(2) == 0
	case idles:
		p.app.act, p.app.after = falls, early/4
		p.origin.act, p.origin.after = falls, early/4
	case leaves:
		p.app.after = early
	}
	return p
}

// scriptOf draws sizes over all orders of magnitude: most flows are small.
func scriptOf(r *rand.Rand, stream uint64) script {
	size := int64(1)<<r.IntN(20) + r.Int64N(1000)
	s := script{stream: peer.Stream{Seed: stream, Size: min(size, maxBytes)}}
	s.chunk = 1 + r.IntN(32<<10)
	writes := s.stream.Size/int64(s.chunk) + 1
	s.pause = time.Duration(r.Float64() * float64(maxLife) / float64(writes))
	if r.IntN(4) == 0 {
		s.pause = 0
	}
	if r.IntN(4) == 0 {
		s.sluggish = time.Duration(r.IntN(10)) * time.Millisecond
	}
	return s
}
