package impair

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// MTU is the links', bytes.
	MTU = 1500
	// batchSize is how many packets are taken from a queue at once.
	batchSize = 64
	// maxHeld bounds what is under way in one direction, bytes: a second of
	// 500 Mbit/s.
	maxHeld = 64 << 20
)

// Stats count what a direction has done, in packets unless they say otherwise.
type Stats struct {
	Sent, SentBytes uint64 // what came in
	Delivered       uint64 // what went out, repetitions included
	DeliveredBytes  uint64
	Lost            uint64 // by the chance of Loss
	Overflowed      uint64 // dropped because too much waited
	Reordered       uint64 // made late
	Duplicated      uint64
	Corrupted       uint64
	Refused         uint64 // not taken by the far kernel, as when a corruption left no IP version
}

// direction carries packets one way.
type direction struct {
	// immutable
	number   uint64
	from, to io.ReadWriter
	queue    *queue
	buffers  *sync.Pool // of *[MTU]byte

	link atomic.Pointer[Link]

	// owned by the reader
	free time.Time // when the rate lets the next packet go
	last time.Time // when the last packet that keeps the order is due

	sent, sentBytes, delivered, deliveredBytes, lost,
	overflowed, reordered, duplicated, corrupted, refused atomic.Uint64
}

func newDirection(number uint64, from, to io.ReadWriter, l Link) *direction {
	d := &direction{number: number, from: from, to: to, queue: newQueue(), buffers: &sync.Pool{New: func() any { return new([MTU]byte) }}}
	d.link.Store(&l)
	return d
}

func (d *direction) stats() Stats {
	return Stats{
		Sent: d.sent.Load(), SentBytes: d.sentBytes.Load(),
		Delivered: d.delivered.Load(), DeliveredBytes: d.deliveredBytes.Load(),
		Lost: d.lost.Load(), Overflowed: d.overflowed.Load(), Reordered: d.reordered.Load(),
		Duplicated: d.duplicated.Load(), Corrupted: d.corrupted.Load(), Refused: d.refused.Load(),
	}
}

// read takes packets until from is closed, then ends the writer.
func (d *direction) read() {
	defer d.queue.close()
	for n := uint64(0); ; n++ {
		b := d.buffers.Get().(*[MTU]byte)[:]
		size, err := d.from.Read(b)
		if err != nil {
			return // closed: a TUN that is up has no other error
		}
		d.sent.Add(1)
		d.sentBytes.Add(uint64(size))
		d.pass(n, b[:size])
	}
}

// pass lets happen to the nth packet what shall.
func (d *direction) pass(n uint64, b []byte) {
	l := d.link.Load()
	f := l.fate(d.number, n)
	if f.lost {
		d.lost.Add(1)
		d.release(b)
		return
	}
	due, ok := d.schedule(l, f, len(b))
	if !ok {
		d.overflowed.Add(1)
		d.release(b)
		return
	}
	if f.corrupted {
		bit := f.bit % uint64(len(b)*8)
		b[bit/8] ^= 1 << (bit % 8)
		d.corrupted.Add(1)
	}
	if f.repeated {
		d.duplicated.Add(1)
		again := d.buffers.Get().(*[MTU]byte)[:len(b)]
		copy(again, b)
		d.put(again, due)
	}
	d.put(b, due)
}

// schedule is when a packet of that size is due; it is not ok when too much
// waits for its turn already.
func (d *direction) schedule(l *Link, f fate, size int) (due time.Time, ok bool) {
	due = time.Now()
	if l.Rate > 0 {
		if d.free.After(due) {
			if int64(d.free.Sub(due).Seconds()*float64(l.Rate))+int64(size) > l.queue() {
				return due, false
			}
			due = d.free
		}
		due = due.Add(time.Duration(float64(size) / float64(l.Rate) * float64(time.Second)))
		d.free = due
	}
	due = due.Add(l.Delay + f.jitter)
	if due.Before(d.last) {
		due = d.last
	}
	if f.late {
		d.reordered.Add(1)
		return due.Add(f.lateness), true // others may pass
	}
	d.last = due
	return due, true
}

func (d *direction) put(b []byte, due time.Time) {
	if !d.queue.put(b, due, maxHeld) {
		d.overflowed.Add(1)
		d.release(b)
	}
}

// write delivers what is due until the queue is closed.
func (d *direction) write() {
	var batch [][]byte
	for {
		batch = d.queue.take(batch[:0], batchSize)
		if batch == nil {
			return
		}
		for _, b := range batch {
			if _, err := d.to.Write(b); errors.Is(err, os.ErrClosed) {
				return
			} else if err != nil {
				d.refused.Add(1)
			} else {
				d.delivered.Add(1)
				d.deliveredBytes.Add(uint64(len(b)))
			}
			d.release(b)
		}
	}
}

func (d *direction) release(b []byte) { d.buffers.Put((*[MTU]byte)(b[:MTU])) }
