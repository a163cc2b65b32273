package stats

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A histogram keeps two significant decimal digits, as Envoy's (circllhist)
// does: 90 bins to a decade, 1.0 to 9.9 times a power of ten. Decades are made
// when a value first falls into them: 720 bytes each.
const (
	binsPerDecade = 90
	minExponent   = -9 // 1e-9; smaller values count as zero
	maxExponent   = 15 // 9.9e15; larger ones count there
	decades       = maxExponent - minExponent + 1
)

type decade [binsPerDecade]atomic.Uint64

// Histogram counts values by size. Record is safe from any goroutine and takes
// no lock. Negative values and NaN count as zero.
type Histogram struct {
	zero    atomic.Uint64
	decades [decades]atomic.Pointer[decade]
	sum     atomic.Uint64 // float64 bits

	mu       sync.Mutex
	flushed  bins // cumulative at the last flush
	interval bins // what the last interval added
}

func newHistogram() *Histogram { return new(Histogram) }

// Record counts one value, in milliseconds or the unit the name says.
func (h *Histogram) Record(v float64) {
	if !(v > 0) || math.IsInf(v, 0) {
		h.zero.Add(1)
		return
	}
	e, bin, ok := binOf(v)
	if !ok {
		h.zero.Add(1)
		return
	}
	d := h.decades[e-minExponent].Load()
	if d == nil {
		d = h.makeDecade(e - minExponent)
	}
	d[bin].Add(1)
	h.addSum(v)
}

// RecordDuration counts a duration in milliseconds.
func (h *Histogram) RecordDuration(d time.Duration) {
	h.Record(float64(d) / float64(time.Millisecond))
}

// Count is the number of values so far.
func (h *Histogram) Count() uint64 {
	n := h.zero.Load()
	for i := range h.decades {
		if d := h.decades[i].Load(); d != nil {
			for j := range d {
				n += d[j].Load()
			}
		}
	}
	return n
}

func (h *Histogram) makeDecade(i int) *decade {
	d := new(decade)
	if h.decades[i].CompareAndSwap(nil, d) {
		return d
	}
	return h.decades[i].Load()
}

func (h *Histogram) addSum(v float64) {
	for {
		old := h.sum.Load()
		if h.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+v)) {
			return
		}
	}
}

// binOf is the decade and the bin of a positive value; false if it is too
// small to tell from zero.
func binOf(v float64) (exponent, bin int, ok bool) {
	e := int(math.Floor(math.Log10(v)))
	// Two significant digits; Log10 may be off by one unit in the last place.
	m := int(v / math.Pow10(e) * 10 * (1 + 1e-12))
	for ; m >= 100; m /= 10 {
		e++
	}
	for ; m < 10; m = int(v / math.Pow10(e) * 10 * (1 + 1e-12)) {
		e--
	}
	switch {
	case e < minExponent:
		return 0, 0, false
	case e > maxExponent:
		return maxExponent, binsPerDecade - 1, true
	}
	return e, m - 10, true
}

// bins are the filled bins of a histogram, by rising value.
type bins struct {
	list  []bin
	count uint64
	sum   float64
}

// bin is the values from low up to, and without, low+width.
type bin struct {
	low, width float64
	count      uint64
}

// snapshot reads the bins. Values recorded meanwhile may or may not be in it.
func (h *Histogram) snapshot() bins {
	var b bins
	if n := h.zero.Load(); n > 0 {
		b.add(bin{0, 0, n})
	}
	for i := range h.decades {
		d := h.decades[i].Load()
		if d == nil {
			continue
		}
		unit := math.Pow10(i + minExponent - 1)
		for j := range d {
			if n := d[j].Load(); n > 0 {
				b.add(bin{float64(j+10) * unit, unit, n})
			}
		}
	}
	b.sum = math.Float64frombits(h.sum.Load())
	return b
}

func (b *bins) add(x bin) {
	b.list = append(b.list, x)
	b.count += x.count
}

// minus is what b has more than old, an earlier snapshot.
func (b bins) minus(old bins) bins {
	d := bins{sum: b.sum - old.sum}
	j := 0
	for _, x := range b.list {
		for j < len(old.list) && old.list[j].low < x.low {
			j++
		}
		if j < len(old.list) && old.list[j].low == x.low {
			x.count -= old.list[j].count
		}
		if x.count > 0 {
			d.add(x)
		}
	}
	return d
}

// below counts the values less than limit, which has at most two significant
// digits and so is the edge of a bin.
func (b bins) below(limit float64) uint64 {
	var n uint64
	for _, x := range b.list {
		if x.low > limit*0.9999 { // edges are rounded
			break
		}
		n += x.count
	}
	return n
}

// quantile is the value below which the part q of all values lies, by even
// distribution within a bin; NaN if there are none.
func (b bins) quantile(q float64) float64 {
	if b.count == 0 {
		return math.NaN()
	}
	want := q * float64(b.count)
	var seen float64
	for _, x := range b.list {
		n := float64(x.count)
		if seen+n >= want {
			return x.low + x.width*max(want-seen, 0)/n
		}
		seen += n
	}
	last := b.list[len(b.list)-1]
	return last.low + last.width
}

// flush starts a new interval.
func (h *Histogram) flush() {
	now := h.snapshot()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.interval = now.minus(h.flushed)
	h.flushed = now
}

func (h *Histogram) lastInterval() bins {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.interval
}

// Flush ends an interval of all histograms: the first of the two figures of a
// quantile in /stats is that of the last interval. The owner of the process
// calls it every stats_flush_interval, five seconds.
func (s *Store) Flush() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.histograms {
		e.metric.flush()
	}
}
