package measure

import (
	"fmt"
	"math"
	"slices"
)

// Sample is a figure of one subject, one value a round, in the order of the
// rounds.
type Sample []float64

// Median is the middle value, or the mean of the two in the middle; NaN of
// nothing.
func (s Sample) Median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// Interval holds the median of what the sample was drawn from with a
// probability of at least 90 %, whatever its distribution: between order
// statistics, by the binomial distribution of how many values lie below it. A
// sample of fewer than five values is its own range, with less confidence.
func (s Sample) Interval() (low, high float64) {
	if len(s) == 0 {
		return math.NaN(), math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	k := 0
	for outside := 0.0; k < (n-1)/2; k++ {
		outside += 2 * choose(n, k) / math.Pow(2, float64(n))
		if outside > 0.10 {
			break
		}
	}
	// k values may be left off at each end; the one after them is the bound.
	if k > 0 {
		k--
	}
	return sorted[k], sorted[n-1-k]
}

// choose is the number of ways to take k of n.
func choose(n, k int) float64 {
	c := 1.0
	for i := range k {
		c = c * float64(n-i) / float64(i+1)
	}
	return c
}

// Over is the ratio of each round's figure to that of another subject in the
// same round, so that what disturbed both cancels out.
func (s Sample) Over(other Sample) (Sample, error) {
	if len(s) != len(other) {
		return nil, fmt.Errorf("ratio of %d rounds to %d: measure both in turns", len(s), len(other))
	}
	ratios := make(Sample, len(s))
	for i := range s {
		if other[i] == 0 {
			return nil, fmt.Errorf("ratio in round %d: the other subject's figure is 0", i+1)
		}
		ratios[i] = s[i] / other[i]
	}
	return ratios, nil
}

// Scaled is each value times a factor: another unit.
func (s Sample) Scaled(by float64) Sample {
	out := make(Sample, len(s))
	for i, v := range s {
		out[i] = v * by
	}
	return out
}
