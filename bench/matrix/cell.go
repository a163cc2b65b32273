package matrix

import (
	"culvert/bench/load"
	"culvert/bench/measure"
)

// Figure is something that is measured of a subject under a load.
type Figure string

// Figures of bulk loads, of those that go in turns, and of those that are once.
const (
	Throughput Figure = "Gb/s"
	Cost       Figure = "CPU s/GB" // of the subject's processes together
	Rate       Figure = "per second"
	CostEach   Figure = "CPU ms each" // as Cost, per turn
	P50        Figure = "p50 µs"
	P99        Figure = "p99 µs"
	Connected  Figure = "connect p50 µs"
	Answered   Figure = "ms until the last answer"
	Flows      Figure = "open flows"
	Pipes      Figure = "ends of pipes" // that flows hold while they are idle
)

// PerFlow is what an open flow takes of one process's memory, bytes.
func PerFlow(process string) Figure { return Figure("bytes per flow, " + process) }

// CostOf is what one process takes of Cost, where a subject has several.
func CostOf(process string) Figure { return Cost + ", " + Figure(process) }

// Cell is a subject under a load: a sample of each figure.
type Cell map[Figure]measure.Sample

func (c Cell) put(f Figure, v float64) { c[f] = append(c[f], v) }

// spent is a process's time on a processor, seconds.
type spent struct {
	process string
	seconds float64
}

// add appends a round's figures.
func (c Cell) add(r load.Result, k load.Kind, processes []spent) {
	seconds, bytes, turns := r.Elapsed.Seconds(), float64(r.Bytes), float64(r.Turns)
	cpu := 0.0
	for _, p := range processes {
		cpu += p.seconds
	}
	if k == load.Down || k == load.Up || k == load.Requests {
		c.put(Throughput, bytes*8/1e9/seconds)
		c.put(Cost, cpu/(bytes/1e9))
		if len(processes) > 1 {
			for _, p := range processes {
				c.put(CostOf(p.process), p.seconds/(bytes/1e9))
			}
		}
	}
	switch k {
	case load.Burst:
		c.put(Answered, seconds*1e3)
		c.put(CostEach, cpu*1e3/turns)
	case load.Connect, load.PingPong, load.Requests:
		c.put(Rate, turns/seconds)
		c.put(CostEach, cpu*1e3/turns)
		c.put(P50, float64(r.P50.Microseconds()))
		c.put(P99, float64(r.P99.Microseconds()))
		c.put(Connected, float64(r.Connected.Microseconds()))
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
	// Resident is the memory of each of its processes at the end of each round,
	// after all loads but those that are alone.
	Resident []Memory
	// Failed says what went wrong under a load, by its String, or at the start, by
	// nothing. What failed is not tried again; the cells are what came before.
	Failed map[string]string
}

// Memory is what one process of a subject takes, bytes.
type Memory struct {
	Process string
	Bytes   measure.Sample
}

// start is the key in Measured.Failed of a subject that does not start.
const start = ""
