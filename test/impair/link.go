package impair

import (
	"fmt"
	"time"
)

const (
	// DefaultQueue is a Link's Queue where there is none, bytes: 40 ms at
	// 100 Mbit/s.
	DefaultQueue = 512 << 10
	// lateBy is by how much at most a packet that shall be reordered is late.
	lateBy = 10 * time.Millisecond
)

// Link is what a direction does to its packets. The zero value does nothing.
// The chances, between 0 and 1, are those of each packet, independent of the
// others and of each other.
type Link struct {
	// Delay is how long each packet is under way, at least. Jitter is how much
	// longer at most, drawn for each packet; it does not change the order.
	Delay, Jitter time.Duration
	// Loss is the chance to be lost; at 1 the link is silent.
	Loss float64
	// Reorder is the chance to be late by up to 10 ms, so that packets that are
	// sent later arrive before.
	Reorder float64
	// Duplicate is the chance to arrive twice.
	Duplicate float64
	// Corrupt is the chance that one bit, anywhere in the packet, is another.
	Corrupt float64
	// Rate is how many bytes of packets pass in a second; 0 is as many as can.
	Rate int64
	// Queue is how many bytes may wait for their turn at Rate; what comes then is
	// dropped. 0 is DefaultQueue.
	Queue int64
	// Seed decides together with the direction and a packet's number.
	Seed uint64
}

// check finds what is no chance, and what is negative.
func (l Link) check() error {
	for name, p := range map[string]float64{"loss": l.Loss, "reorder": l.Reorder, "duplicate": l.Duplicate, "corrupt": l.Corrupt} {
		if !(p >= 0 && p <= 1) { // nor NaN
			return fmt.Errorf("impair: %s %v: must be between 0 and 1", name, p)
		}
	}
	if l.Delay < 0 || l.Jitter < 0 || l.Rate < 0 || l.Queue < 0 {
		return fmt.Errorf("impair: delay %v, jitter %v, rate %d, queue %d: none may be negative", l.Delay, l.Jitter, l.Rate, l.Queue)
	}
	return nil
}

func (l Link) queue() int64 {
	if l.Queue == 0 {
		return DefaultQueue
	}
	return l.Queue
}

// fate is what befalls one packet.
type fate struct {
	lost, repeated, corrupted, late bool
	jitter, lateness                time.Duration
	bit                             uint64 // which one, modulo how many there are
}

// draws is how many numbers are drawn for each packet: the same ones whatever
// the chances are, so that what is lost of a hundred is also lost of fifty.
const draws = 7

// fate decides about the nth packet of a direction.
func (l Link) fate(direction, n uint64) fate {
	r := source{state: mix(mix(l.Seed)+direction) + n*draws*gamma}
	f := fate{
		lost: r.chance(l.Loss), repeated: r.chance(l.Duplicate),
		corrupted: r.chance(l.Corrupt), late: r.chance(l.Reorder),
	}
	f.jitter = r.upTo(l.Jitter)
	f.lateness = r.upTo(lateBy)
	f.bit = r.next()
	return f
}

// source is SplitMix64: a sequence that can be entered anywhere, since its nth
// number is a function of n.
type source struct{ state uint64 }

const gamma = 0x9e3779b97f4a7c15

func (s *source) next() uint64 {
	s.state += gamma
	return mix(s.state)
}

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unit is in [0, 1).
func (s *source) unit() float64 { return float64(s.next()>>11) / (1 << 53) }

func (s *source) chance(p float64) bool { return s.unit() < p }

func (s *source) upTo(d time.Duration) time.Duration { return time.Duration(s.unit() * float64(d)) }
