package hostile

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/program"
	"culvert/test/scale"
	"culvert/test/topology"
)

const (
	// mostAmplification is what an attack may cost, of CPU and of memory, for what
	// an ordinary client costs with as many bytes.
	mostAmplification = 20
	// mostSlower is by how much the p99 of a bystander may grow.
	mostSlower = 2
	// mostGrowth bounds the victim's memory under any of the attacks; noGrowth is
	// as much as a process grows by whatever it does, and no cost of an attack;
	// bytes.
	mostGrowth = 192 << 20
	noGrowth   = 8 << 20
	// attempts is how often time is measured; the best counts.
	attempts = 3
)

// roundPause is the least time between two connections of an attacker; with
// roundBytes it is its rate.
const roundPause = 100 * time.Millisecond

func TestLoadAttacks(t *testing.T) {
	need.Long(t)
	h := newHost(t)
	upstream := h.Listen("tcp", hostileAddress)
	window := scale.For(150*time.Millisecond, 2*time.Second)
	requests := measure(t, h, upstream, ordinaryRequests(), window)
	tunnels := measure(t, h, upstream, ordinaryTunnels(), window)
	scale.Figure(t, "ordinary requests: %.2f µs of the victim's CPU a byte sent; ordinary tunnels: %.0f bytes of its memory a byte sent",
		1e6*requests.cpuPerByte(), tunnels.memoryPerByte())
	for _, k := range attacks() {
		t.Run(k.name, func(t *testing.T) {
			c := measure(t, h, upstream, k, window)
			cpu := c.cpuPerByte() / requests.cpuPerByte()
			memory := 0.0
			if c.growth > noGrowth {
				memory = c.memoryPerByte() / tunnels.memoryPerByte()
			}
			scale.Figure(t, "CPU %.2f×, memory %.2f× (%+.1f MiB); %d bytes on %d connections; %s",
				cpu, memory, float64(c.growth)/(1<<20), c.sent, c.rounds, c.endings())
			c.judge(t, k)
			if !scale.Full() {
				return
			}
			scale.Figure(t, "a bystander's p99 is %v alone, %v beside it", c.alone, c.beside)
			if cpu > mostAmplification || memory > mostAmplification {
				t.Errorf("amplification of CPU %.1f, of memory %.1f", cpu, memory)
			}
			if c.slower > mostSlower {
				t.Errorf("a bystander's p99 is %.1f times what it was", c.slower)
			}
		})
	}
}

// cost is what an attack cost its victim.
type cost struct {
	sent, rounds  int64
	cpu           time.Duration
	growth        int64 // of memory, bytes
	ended         map[string]int
	counted       int64         // the attack's counter
	alone, beside time.Duration // p99 of a bystander without and with it
	slower        float64
}

func (c cost) cpuPerByte() float64 { return c.cpu.Seconds() / float64(c.sent) }

// memoryPerByte is of one connection: more of them are not a larger factor.
func (c cost) memoryPerByte() float64 {
	return float64(c.growth) / float64(c.sent) * float64(c.rounds)
}

func (c cost) endings() string {
	return strings.Join(slices.Sorted(maps.Keys(c.ended)), ", ")
}

func (c cost) judge(t *testing.T, k attack) {
	t.Helper()
	for how, n := range c.ended {
		if !slices.Contains(k.ends, how) {
			t.Errorf("%d of %d connections ended thus: %s; want %s", n, c.rounds, how, k.ends)
		}
	}
	if k.counter != "" && c.counted == 0 {
		t.Errorf("%s is 0", k.counter)
	}
	if c.growth > mostGrowth*raceFactor() {
		t.Errorf("the victim grew by %d MiB", c.growth>>20)
	}
}

// measure has a fresh victim attacked: first alone, for what it costs, then, at
// full size, beside a bystander.
func measure(t *testing.T, h *topology.Host, upstream net.Listener, k attack, window time.Duration) cost {
	t.Helper()
	g := startGateway(t, h)
	defer g.Kill()
	by := newBystander(t, g)
	defer by.leave()
	by.ping(window / 10) // what is made at the first use is there
	c := cost{ended: map[string]int{}}
	g.resetPeak()
	cpu, memory := g.cpu(), g.resident()
	for _, r := range g.assault(t, upstream, k, window) {
		c.sent += r.sent
		c.rounds++
		c.ended[r.ended]++
	}
	c.cpu, c.growth = g.cpu()-cpu, g.peak()-memory
	for range scale.Of(0, attempts) {
		g.settle()
		alone := by.ping(window)
		by.begin(window)
		g.assault(t, upstream, k, window)
		beside := by.end()
		if slower := float64(beside) / float64(alone); c.slower == 0 || slower < c.slower {
			c.alone, c.beside, c.slower = alone, beside, slower
		}
	}
	by.ping(0) // it has survived
	if k.counter != "" {
		program.Eventually(t, answerTime, k.counter+" is counted", func() error { c.counted = g.Stat(k.counter); return nil })
	}
	return c
}

// settle waits until no stream but the bystander's is left.
func (g *gateway) settle() {
	g.t.Helper()
	program.Eventually(g.t, answerTime, "the attacker's streams are over", func() error {
		if n := g.Stat("http2.streams_active"); n > 1 {
			return fmt.Errorf("%d streams", n)
		}
		return nil
	})
}

// assault attacks for the time of window, again and again.
func (g *gateway) assault(t *testing.T, upstream net.Listener, k attack, window time.Duration) []round {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), window)
	defer cancel()
	var all []round
	for began := time.Now(); len(all) == 0 || ctx.Err() == nil; {
		all = append(all, g.once(ctx, t, upstream, k))
		var sent int64
		for _, r := range all {
			sent += r.sent
		}
		due := max(time.Duration(len(all))*roundPause, time.Duration(sent)*roundPause/roundBytes)
		pause := time.NewTimer(time.Until(began.Add(due)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
	return all
}

// once is one connection of an attack, by a client of the victim or by an
// upstream that the victim was led to.
func (g *gateway) once(ctx context.Context, t *testing.T, upstream net.Listener, k attack) round {
	t.Helper()
	nc, err := g.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !k.server {
		return attackOnce(ctx, nc, k)
	}
	asks := newAttacker(nc, 4<<10) // it means no harm
	_, err = asks.greetAndGet(pathHostile)
	if err == nil {
		err = asks.out.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	go asks.read() // ends with nc
	defer func() {
		_ = nc.Close()
		<-asks.ended
	}()
	return attackOnce(ctx, acceptHTTP2(t, upstream), k)
}

// acceptHTTP2 is the next connection of a client, whose preface is read.
func acceptHTTP2(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	readPreface(t, nc)
	return nc
}
