package impair

import (
	"encoding/binary"
	"io"
	"math"
	"math/bits"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// patience bounds what a test waits for.
const patience = 30 * time.Second

// wired is the TUNs of one direction, in memory.
type wired struct {
	*direction
	in      chan []byte
	arrived chan arrival
	stop    func()
}

type arrival struct {
	number int // written by the sender
	bytes  []byte
	at     time.Time
}

// wiredBy makes a direction that does what l says.
func wiredBy(t *testing.T, number uint64, l Link) *wired {
	t.Helper()
	w := &wired{in: make(chan []byte), arrived: make(chan arrival, 1<<20)}
	w.direction = newDirection(number, reader{w.in}, writer{w.arrived}, l)
	var running sync.WaitGroup
	running.Go(w.read)
	running.Go(w.write)
	w.stop = sync.OnceFunc(func() { close(w.in); running.Wait() })
	t.Cleanup(w.stop)
	return w
}

// reader is a TUN's descriptor as the direction reads it.
type reader struct{ packets chan []byte }

func (r reader) Read(b []byte) (int, error) {
	p, ok := <-r.packets
	if !ok {
		return 0, os.ErrClosed
	}
	return copy(b, p), nil
}

func (reader) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// writer is one that it writes.
type writer struct{ arrived chan arrival }

func (w writer) Write(b []byte) (int, error) {
	w.arrived <- arrival{int(binary.BigEndian.Uint32(b)), slices.Clone(b), time.Now()}
	return len(b), nil
}

func (writer) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

// numbered is a packet of that number.
func numbered(n, size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint32(b, uint32(n))
	return b
}

// send sends so many packets and returns those that arrive, in their order.
func (w *wired) send(t *testing.T, packets, size int) []arrival {
	t.Helper()
	for n := range packets {
		w.in <- numbered(n, size)
	}
	var got []arrival
	deadline := time.After(patience)
	for {
		s := w.stats() // after the last Read has begun, all are counted but perhaps one
		want := s.Sent + s.Duplicated - s.Lost - s.Overflowed
		if s.Sent == uint64(packets) && uint64(len(got)) >= want {
			return got
		}
		select {
		case a := <-w.arrived:
			got = append(got, a)
		case <-time.After(time.Millisecond): // the counters, looked at again
		case <-deadline:
			t.Fatalf("%d of %d packets after %v: %+v", len(got), want, patience, s)
		}
	}
}

func numbers(got []arrival) []int {
	var all []int
	for _, a := range got {
		all = append(all, a.number)
	}
	return all
}

// near reports whether so many of n are what chance p gives, for one seed that is
// no odder than one in a hundred thousand.
func near(count uint64, n int, p float64) bool {
	mean, deviation := float64(n)*p, math.Sqrt(float64(n)*p*(1-p))
	return math.Abs(float64(count)-mean) < 4.5*deviation
}

const many = 30_000

func TestNothingIsDoneUnasked(t *testing.T) {
	w := wiredBy(t, 0, Link{})
	got := numbers(w.send(t, many, 40))
	for i, n := range got {
		if i != n {
			t.Fatalf("packet %d arrived as number %d", n, i)
		}
	}
	want := Stats{Sent: many, SentBytes: many * 40, Delivered: many, DeliveredBytes: many * 40}
	if w.stop(); w.stats() != want {
		t.Errorf("got %+v, want %+v", w.stats(), want)
	}
}

func TestLoss(t *testing.T) {
	arrive := func(direction uint64, l Link) []int {
		w := wiredBy(t, direction, l)
		got := numbers(w.send(t, many, 40))
		if lost := w.stats().Lost; !near(lost, many, l.Loss) || int(lost)+len(got) != many {
			t.Errorf("%+v: %d lost, %d arrived of %d", l, lost, len(got), many)
		}
		return got
	}
	got := arrive(0, Link{Loss: 0.01, Seed: 1})
	if !slices.Equal(got, arrive(0, Link{Loss: 0.01, Seed: 1})) {
		t.Error("the same seed, and others are lost")
	}
	if slices.Equal(got, arrive(0, Link{Loss: 0.01, Seed: 2})) || slices.Equal(got, arrive(1, Link{Loss: 0.01, Seed: 1})) {
		t.Error("another seed or direction, and the same are lost")
	}
	// Whatever arrives at 5 % does so at 1 %, though more else happens.
	worse := Link{Loss: 0.05, Duplicate: 0.1, Corrupt: 0.1, Reorder: 0.1, Seed: 1}
	for n := range uint64(many) {
		if mild, bad := (Link{Loss: 0.01, Seed: 1}).fate(0, n), worse.fate(0, n); mild.lost && !bad.lost {
			t.Fatalf("packet %d is lost at 1 %% and not at 5 %%", n)
		}
	}
}

func TestDuplicates(t *testing.T) {
	w := wiredBy(t, 0, Link{Duplicate: 0.05, Seed: 3})
	got := w.send(t, many, 40)
	seen := make([]int, many)
	for _, a := range got {
		seen[a.number]++
	}
	twice := uint64(0)
	for n, times := range seen {
		switch times {
		case 1:
		case 2:
			twice++
		default:
			t.Fatalf("packet %d arrived %d times", n, times)
		}
	}
	if s := w.stats(); twice != s.Duplicated || !near(twice, many, 0.05) {
		t.Errorf("%d arrived twice, %d were counted of %d", twice, s.Duplicated, many)
	}
}

func TestCorruptsOneBit(t *testing.T) {
	const packets = 20_000
	w := wiredBy(t, 0, Link{Corrupt: 0.1, Seed: 4})
	changed := uint64(0)
	for i, a := range w.send(t, packets, 40) {
		flipped := 0
		for j, b := range numbered(i, 40) {
			flipped += bits.OnesCount8(b ^ a.bytes[j])
		}
		if flipped > 1 {
			t.Fatalf("packet %d arrived with %d other bits", i, flipped)
		}
		changed += uint64(flipped)
	}
	if s := w.stats(); changed != s.Corrupted || !near(changed, packets, 0.1) {
		t.Errorf("%d arrived changed, %d were counted of %d", changed, s.Corrupted, packets)
	}
}

func TestDelayAndJitter(t *testing.T) {
	const delay, jitter, packets = 30 * time.Millisecond, 20 * time.Millisecond, 200
	w := wiredBy(t, 0, Link{Delay: delay, Jitter: jitter, Seed: 5})
	var sent []time.Time
	for n := range packets {
		sent = append(sent, time.Now())
		w.in <- numbered(n, 40)
	}
	late := 0
	for i := range packets {
		a := <-w.arrived
		took := a.at.Sub(sent[i])
		if a.number != i || took < delay {
			t.Fatalf("packet %d arrived as number %d after %v, want no less than %v", a.number, i, took, delay)
		}
		if took > delay+jitter/4 {
			late++
		}
	}
	if late < packets/2 {
		t.Errorf("%d of %d were later than %v: there is no jitter", late, packets, delay+jitter/4)
	}
}

func TestReorders(t *testing.T) {
	const packets = 2000
	w := wiredBy(t, 0, Link{Reorder: 0.1, Seed: 6, Rate: 1 << 20, Queue: 1 << 20}) // 40 ms of packets one after the other
	got := numbers(w.send(t, packets, 20))
	overtaken := 0
	for i, most := 0, -1; i < len(got); i++ {
		if got[i] < most {
			overtaken++
		}
		most = max(most, got[i])
	}
	s := w.stats()
	if !near(s.Reordered, packets, 0.1) || overtaken == 0 || len(got) != packets {
		t.Errorf("%d of %d arrived, %d were made late, %d overtaken", len(got), packets, s.Reordered, overtaken)
	}
}

func TestRateAndQueue(t *testing.T) {
	const rate, size, packets = 1 << 20, 1024, 256 // a quarter of a second
	w := wiredBy(t, 0, Link{Rate: rate, Queue: packets * size})
	start := time.Now()
	if got := w.send(t, packets, size); len(got) != packets {
		t.Errorf("%d of %d arrived", len(got), packets)
	}
	if took := time.Since(start); took < packets*size*time.Second/rate {
		t.Errorf("%d bytes took %v at %d bytes a second", packets*size, took, rate)
	}
	// The same against a queue of ten packets: what comes too fast is dropped.
	w = wiredBy(t, 0, Link{Rate: 1000, Queue: 10 * size})
	for n := range packets {
		w.in <- numbered(n, size)
	}
	w.stop()
	if s := w.stats(); s.Overflowed < packets-20 || s.Overflowed > packets-9 {
		t.Errorf("%d of %d overflowed a queue of 10", s.Overflowed, packets)
	}
}

// What is under way is bounded, however long that takes.
func TestHeldIsBounded(t *testing.T) {
	w := wiredBy(t, 0, Link{Delay: time.Hour})
	const packets = maxHeld/MTU + 1000
	for n := range packets {
		w.in <- numbered(n, MTU)
	}
	w.stop()
	if s := w.stats(); s.Overflowed < 999 || s.Overflowed > 1001 {
		t.Errorf("%d of %d were dropped", s.Overflowed, packets)
	}
}

func TestLinksThatAreNone(t *testing.T) {
	for _, l := range []Link{
		{Loss: 1.1}, {Reorder: -1}, {Duplicate: math.NaN()}, {Corrupt: math.Inf(1)},
		{Delay: -1}, {Jitter: -1}, {Rate: -1}, {Queue: -1},
	} {
		if l.check() == nil {
			t.Errorf("%+v is fine", l)
		}
	}
	if err := (Link{Loss: 1, Delay: time.Second, Rate: 1}).check(); err != nil {
		t.Error(err)
	}
}
