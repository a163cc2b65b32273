package measure

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   Sample
		want float64
	}{{Sample{3, 1, 2}, 2}, {Sample{4, 1, 3, 2}, 2.5}, {Sample{7}, 7}} {
		if got := tt.in.Median(); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.in, got, tt.want)
		}
	}
	if got := (Sample{}).Median(); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
}

// The bounds of the usual tables of the sign test.
func TestIntervalBounds(t *testing.T) {
	sample := func(n int) Sample {
		s := make(Sample, n)
		for i := range s {
			s[i] = float64(n - i)
		}
		return s
	}
	for _, tt := range []struct {
		n         int
		low, high float64
	}{{1, 1, 1}, {3, 1, 3}, {5, 1, 5}, {7, 1, 7}, {8, 2, 7}, {11, 3, 9}, {20, 6, 15}} {
		if low, high := sample(tt.n).Interval(); low != tt.low || high != tt.high {
			t.Errorf("%d values: [%v, %v], want [%v, %v]", tt.n, low, high, tt.low, tt.high)
		}
	}
}

// The interval holds the true median at least nine times in ten.
func TestIntervalCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{5, 7, 8, 11, 15} {
		held := 0
		const trials = 4000
		for range trials {
			s := make(Sample, n)
			for i := range s {
				s[i] = rng.ExpFloat64()
			}
			if low, high := s.Interval(); low <= math.Ln2 && math.Ln2 <= high {
				held++
			}
		}
		if share := float64(held) / trials; share < 0.89 {
			t.Errorf("%d values: the interval holds the median in %.3f of trials", n, share)
		}
	}
}

func TestOver(t *testing.T) {
	r, err := Sample{2, 6}.Over(Sample{1, 2})
	if err != nil || r[0] != 2 || r[1] != 3 {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := (Sample{1}).Over(Sample{1, 2}); err == nil {
		t.Error("rounds that differ in number have a ratio")
	}
	if _, err := (Sample{1}).Over(Sample{0}); err == nil {
		t.Error("a figure of 0 has a ratio")
	}
}
