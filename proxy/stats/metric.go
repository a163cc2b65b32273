package stats

import "sync/atomic"

// Counter only grows, but for ResetCounters. Its methods are safe from any
// goroutine.
type Counter struct{ value atomic.Uint64 }

// Inc adds one.
func (c *Counter) Inc() { c.value.Add(1) }

// Add adds n.
func (c *Counter) Add(n uint64) { c.value.Add(n) }

// Value is the count so far.
func (c *Counter) Value() uint64 { return c.value.Load() }

// Gauge goes up and down. Its methods are safe from any goroutine.
type Gauge struct {
	value atomic.Int64
	used  atomic.Bool
}

// Inc adds one.
func (g *Gauge) Inc() { g.Add(1) }

// Dec takes one away.
func (g *Gauge) Dec() { g.Add(-1) }

// Add adds n, which may be negative.
func (g *Gauge) Add(n int64) {
	g.value.Add(n)
	g.touch()
}

// Set replaces the value.
func (g *Gauge) Set(n int64) {
	g.value.Store(n)
	g.touch()
}

// Value is the current value.
func (g *Gauge) Value() int64 { return g.value.Load() }

// touch marks the gauge as used; it writes the shared cache line only once.
func (g *Gauge) touch() {
	if !g.used.Load() {
		g.used.Store(true)
	}
}
