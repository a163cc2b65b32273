package codec

import (
	"strings"
	"testing"
)

func TestHops(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  int
	}{
		{"none", nil, 0},
		{"one", []string{"culvert; hops=1"}, 1},
		{"highest", []string{"culvert; hops=1, culvert; hops=2"}, 2},
		{"two lines", []string{"culvert; hops=2", "culvert; hops=3"}, 3},
		{"others", []string{"cloudflare; loops=1; subreqs=1", "foo.cdn.example; hops=9, culvert;hops=4"}, 4},
		{"without counts", []string{"culvert, culvert", "culvert"}, 3},
		{"any case, any space", []string{"a ,\tCULVERT ;\t Hops = 7 ,b"}, 7},
		{"not a number", []string{"culvert; hops=x, culvert; hops=-2, culvert; hops=99999999999999999999"}, 3},
		{"in quotes", []string{`x; a="culvert; hops=9, culvert; hops=8\", culvert", culvert; hops=2`}, 2},
		{"unfinished quotes", []string{`x; a="culvert; hops=9, culvert`}, 0},
		{"other names", []string{"culvert.example; hops=9, notculvert, culvert:80; hops=9"}, 0},
		{"empty", []string{"", ",,", ";"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := Fields{{"x-other", "culvert"}}
			for _, l := range c.lines {
				h.Add("CDN-Loop", l)
			}
			if got := Hops(h); got != c.want {
				t.Fatalf("%q: %d hops, want %d", c.lines, got, c.want)
			}
			n := c.want + 5
			AddHop(&h, n)
			if got := Hops(h); got != n || len(h) != len(c.lines)+2 {
				t.Errorf("after AddHop(%d): %d hops in %v", n, got, h)
			}
		})
	}
}

func FuzzHops(f *testing.F) {
	for _, s := range []string{"", "culvert; hops=1", `a="\`, `culvert;hops=2,x;y="z,`, "culvert;;hops", ",,,;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		n := Hops(Fields{{fieldLoop, value}})
		if n < 0 || n > 1<<16 && n > len(value) {
			t.Errorf("%d hops in %q", n, value)
		}
		if n > 0 && !strings.Contains(strings.ToLower(value), loopName) {
			t.Errorf("%d hops in %q", n, value)
		}
	})
}
