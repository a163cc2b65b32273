package matrix

import (
	"culvert/bench/load"
	"culvert/bench/measure"
)

// Figure is something that is measured of a subject under a load.
type Figure string

// Figures of bulk loads, and of those that go in turns.
const (
	Throughput Figure = "Gb/s"
	Cost       Figure = "CPU s/GB" // of the subject's processes together
	Rate       Figure = "per second"
	CostEach   Figure = "CPU ms each" // as Cost, per turn
	P50        Figure = "p50 µs"
	P99        Figure = "p99 µs"
	Connected  Figure = "connect p50 µs"
)

// Cell is a subject under a load: a sample of each figure.
type Cell map[Figure]measure.Sample

// add appends a round's figures.
func (c Cell) add(r load.Result, k load.Kind, cpu float64) {
	put := func(f Figure, v float64) { c[f] = append(c[f], v) }
	switch seconds := r.Elapsed.Seconds(); k {
	case load.Down, load.Up:
		put(Throughput, float64(r.Bytes)*8/1e9/seconds)
		put(Cost, cpu/(float64(r.Bytes)/1e9))
	default:
		put(Rate, float64(r.Turns)/seconds)
		put(CostEach, cpu*1e3/float64(r.Turns))
		put(P50, float64(r.P50.Microseconds()))
		put(P99, float64(r.P99.Microseconds()))
		put(Connected, float64(r.Connected.Microseconds()))
	}
}

// Results are all cells of a run.
type Results struct {
	Rounds   int
	Loads    []load.Load
	Subjects []Measured
}

// Measured is a subject and what was measured of it.
type Measured struct {
	Name, Group string
	// Cells by the load's String.
	Cells map[string]Cell
	// Resident is the memory of its processes together at the end of each round,
	// bytes.
	Resident measure.Sample
	// Failed says what went wrong under a load, by its String, or at the start, by
	// nothing. What failed is not tried again; the cells are what came before.
	Failed map[string]string
}

// start is the key in Measured.Failed of a subject that does not start.
const start = ""
