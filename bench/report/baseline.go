package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"culvert/bench/subject"
)

// Baseline is what a run has measured, for later ones to be held against.
type Baseline struct {
	// Machine is where that was.
	Machine []string `json:"machine"`
	// Figures are the medians of comparable goals, by their texts.
	Figures map[string]float64 `json:"figures"`
}

// BaselineOf is that of a run.
func BaselineOf(all []Reached, m Machine) Baseline {
	b := Baseline{Machine: m.Lines, Figures: map[string]float64{}}
	for _, r := range all {
		if r.Comparable && r.Measured && !r.Further {
			b.Figures[r.Text] = r.Median
		}
	}
	return b
}

// ReadBaseline reads one from a file.
func ReadBaseline(path string) (b Baseline, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return b, fmt.Errorf("baseline: %w; `make bench` writes one", err)
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, fmt.Errorf("baseline: %s: %w", path, err)
	}
	return b, nil
}

// Write writes it to a file.
func (b Baseline) Write(path string) error {
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// worse is which part of a baseline's figure is too little.
const worse = 0.8

// Check finds figures whose whole interval is worse than the baseline's by more
// than what chance does. That there is nothing to compare is an error, too.
func (b Baseline) Check(all []Reached) error {
	var errs []error
	compared := 0
	for _, r := range all {
		was, ok := b.Figures[r.Text]
		if !ok || !r.Measured {
			continue
		}
		compared++
		if bound := was * worse; !r.Most && r.High < bound {
			errs = append(errs, fmt.Errorf("%s: %.2f–%.2f, all below %.2f; it was %.2f", r.Text, r.Low, r.High, bound, was))
		}
		if bound := was / worse; r.Most && r.Low > bound {
			errs = append(errs, fmt.Errorf("%s: %.2f–%.2f, all above %.2f; it was %.2f", r.Text, r.Low, r.High, bound, was))
		}
	}
	if compared == 0 {
		return errors.New("nothing was measured that the baseline has a figure of")
	}
	slices.SortFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// Checked are the goals that a baseline is about and that take nothing but
// culvert and the kernel.
func Checked() []Goal {
	baselines := map[string]bool{}
	for _, s := range subject.Baselines() {
		baselines[s.Name] = true
	}
	return slices.DeleteFunc(Goals(), func(g Goal) bool {
		return !g.Comparable || g.Further || slices.ContainsFunc(g.Cells(), func(c [2]string) bool {
			return !strings.HasPrefix(c[0], "culvert") && !baselines[c[0]]
		})
	})
}
