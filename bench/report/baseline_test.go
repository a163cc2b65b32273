package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A baseline that is written and read again is the same, and has what is about
// the same on other machines alone.
func TestBaselineIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline.json")
	all := Reach(results(tun, 3), Goals())
	if err := BaselineOf(all, Machine{Lines: []string{"Linux: 6.1"}}).Write(path); err != nil {
		t.Fatal(err)
	}
	b, err := ReadBaseline(path)
	if err != nil || len(b.Machine) != 1 || b.Figures["culvert, TUN / splice relay, down"] != 3 {
		t.Errorf("%+v, %v", b, err)
	}
	for text := range b.Figures {
		if find(t, all, text); strings.Contains(text, "TUN, CPU s/GB") || strings.HasSuffix(text, "ms") {
			t.Errorf("%s is nothing to compare with other machines", text)
		}
	}
	if err := b.Check(all); err != nil {
		t.Errorf("a run is worse than itself: %v", err)
	}
}

func TestBaselineChecks(t *testing.T) {
	at := func(text string, most bool, low, high float64) Reached {
		return Reached{Goal: Goal{Text: text, Most: most}, Span: Span{Median: (low + high) / 2, Low: low, High: high, Measured: true}}
	}
	b := Baseline{Figures: map[string]float64{"ratio": 1, "memory": 10}}
	for _, tt := range []struct {
		name string
		run  []Reached
		want string // in the error; empty: none
	}{
		{"the same", []Reached{at("ratio", false, 0.9, 1.1), at("memory", true, 9, 11)}, ""},
		{"better", []Reached{at("ratio", false, 2, 3), at("memory", true, 1, 2)}, ""},
		{"partly below", []Reached{at("ratio", false, 0.5, 0.81)}, ""},
		{"wholly below", []Reached{at("ratio", false, 0.5, 0.79)}, "ratio"},
		{"partly above", []Reached{at("memory", true, 12.4, 20)}, ""},
		{"wholly above", []Reached{at("memory", true, 12.6, 20)}, "memory"},
		{"one of two", []Reached{at("ratio", false, 0.9, 1.1), at("memory", true, 20, 21)}, "memory"},
		{"new", []Reached{at("ratio", false, 0.9, 1.1), at("other", false, 0, 0)}, ""},
		{"nothing in common", []Reached{at("other", false, 1, 1)}, "nothing"},
		{"nothing measured", []Reached{{Goal: Goal{Text: "ratio"}}}, "nothing"},
	} {
		err := b.Check(tt.run)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestNoBaseline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline.json")
	if _, err := ReadBaseline(path); err == nil {
		t.Error("a file that is not there is a baseline")
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadBaseline(path); err == nil {
		t.Error("half a file is a baseline")
	}
}

// What is checked takes no other program, and is in the baseline that a whole
// run writes.
func TestChecked(t *testing.T) {
	b := BaselineOf(Reach(results("", 1), Goals()), Machine{})
	checked := Checked()
	if len(checked) < 20 {
		t.Errorf("%d goals", len(checked))
	}
	for _, g := range checked {
		if _, ok := b.Figures[g.Text]; !ok {
			t.Errorf("%s is not in a baseline", g.Text)
		}
		for _, peer := range []string{"tun2socks", "sing-box", "haproxy", "nghttpx", "squid", "pasta"} {
			if strings.Contains(g.Text, peer) {
				t.Errorf("%s takes %s", g.Text, peer)
			}
		}
	}
}
