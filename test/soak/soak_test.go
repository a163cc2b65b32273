package soak

import (
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"culvert/test/need"
	"culvert/test/program"
	"culvert/test/scale"
)

const (
	// variable asks for a run of that duration and a verdict on costs.
	variable = "CULVERT_SOAK"
	// samples is how many looks there are in a run.
	samples = 60
	// A run of costs compares its first and last sixth: five minutes of thirty.
	window = samples / 6
)

// How much worse the end of a run may be than its beginning.
const (
	costSlack = 0.05
	rateSlack = 0.15
	// Of what is held, beside a share of it: a leak in each mouse is thousands.
	rssSlack, goroutineSlack, descriptorSlack = 24 << 20, 100, 100
	heldShare                                 = 1.2
)

// Both ends under a mixed load, for as long as is asked for. What they hold does
// not grow and nothing fails; asked for by CULVERT_SOAK, costs are judged too.
func TestLoadSoak(t *testing.T) {
	need.Long(t)
	duration := scale.For(60*time.Second, 2*time.Minute)
	long := os.Getenv(variable)
	if long != "" {
		var err error
		if duration, err = time.ParseDuration(long); err != nil {
			t.Fatalf("%s: %v", variable, err)
		}
	}
	w := newWorld(t)
	quiet := [2]held{heldBy(t, w.near), heldBy(t, w.gateway)}
	l := start(t, w)
	all := watch(t, w, l, duration)
	l.end()

	judgeHeld(t, w, all)
	first, last := span{all[1], all[1+window]}, span{all[len(all)-1-window], all[len(all)-1]}
	scale.Figure(t, "first: %v", first)
	scale.Figure(t, "last:  %v", last)
	if long != "" {
		judgeCosts(t, first, last)
	}
	awaitQuiet(t, w, quiet)
	if !t.Failed() {
		scale.Figure(t, "verdict: after %v the end is as the beginning", duration)
	}
}

// watch looks at regular times and prints a line a minute.
func watch(t *testing.T, w *world, l *load, d time.Duration) []sample {
	t.Helper()
	all := []sample{look(t, w, l)}
	printed := all[0]
	for len(all) <= samples && l.failed.Load() == 0 {
		time.Sleep(d / samples) // what is measured
		s := look(t, w, l)
		all = append(all, s)
		if s.at.Sub(printed.at) >= time.Minute-d/samples/2 || len(all) == samples+1 {
			fmt.Printf("%6v  %v\n", s.at.Sub(all[0].at).Round(time.Second), span{printed, s}) // at once, in a run of half an hour
			printed = s
		}
	}
	if len(all) <= samples {
		t.FailNow() // the load has said why
	}
	return all
}

// judgeHeld compares what the processes held in the second and in the last
// third; in the first they are still growing into the load.
func judgeHeld(t *testing.T, w *world, all []sample) {
	t.Helper()
	third := len(all) / 3
	for i, c := range w.processes() {
		then, now := mean(all[third:2*third], i), mean(all[2*third:], i)
		scale.Figure(t, "%s held %v, then %v", c.Name, then, now)
		grown := func(what string, then, now int64, slack float64) {
			if float64(now) > float64(then)*heldShare+slack {
				t.Errorf("%s: %s grow: %d, then %d", c.Name, what, then, now)
			}
		}
		grown("resident bytes", then.rss, now.rss, rssSlack)
		grown("goroutines", then.goroutines, now.goroutines, goroutineSlack)
		grown("descriptors", then.descriptors, now.descriptors, descriptorSlack)
	}
}

func judgeCosts(t *testing.T, first, last span) {
	t.Helper()
	for _, c := range []struct {
		what             string
		then, now, slack float64
	}{
		{"CPU seconds per GB", first.cost(), last.cost(), costSlack},
		{"throughput", first.rate(), last.rate(), rateSlack},
	} {
		off := c.now/c.then - 1
		scale.Figure(t, "%s: %+.1f %%", c.what, 100*off)
		if math.Abs(off) > c.slack {
			t.Errorf("%s: from %.3g to %.3g, which is not within %.0f %%", c.what, c.then, c.now, 100*c.slack)
		}
	}
}

// awaitQuiet waits until the processes hold nothing of the load any more, but
// the connection between them.
func awaitQuiet(t *testing.T, w *world, before [2]held) {
	t.Helper()
	const connections = 20 // goroutines and descriptors
	for i, c := range w.processes() {
		program.Eventually(t, patience, c.Name+" is quiet", func() error {
			now := heldBy(t, c)
			if now.goroutines > before[i].goroutines+connections || now.descriptors > before[i].descriptors+connections {
				return fmt.Errorf("it holds %v, before the load %v", now, before[i])
			}
			return nil
		})
	}
}
