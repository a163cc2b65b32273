package report

import (
	"fmt"
	"html"
	"slices"
	"strings"

	"culvert/bench/load"
	"culvert/bench/matrix"
	"culvert/bench/measure"
)

const (
	chartWidth = 820
	labelWidth = 300
	barHeight  = 11
	rowHeight  = 2*barHeight + 12
)

// Chart is an SVG of the throughput of eight streams, each way, with intervals.
func Chart(subjects []matrix.Measured) string {
	down, up := eight[0], eight[1]
	subjects = slices.DeleteFunc(slices.Clone(subjects), func(s matrix.Measured) bool {
		return len(s.Cells[down.String()]) == 0 && len(s.Cells[up.String()]) == 0
	})
	most := 0.1
	for _, s := range subjects {
		for _, l := range []load.Load{down, up} {
			if c := s.Cells[l.String()][matrix.Throughput]; len(c) > 0 {
				_, high := c.Interval()
				most = max(most, high)
			}
		}
	}
	var b strings.Builder
	height := len(subjects)*rowHeight + 40
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", chartWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", chartWidth, height)
	fmt.Fprintf(&b, `<rect x="%d" y="8" width="10" height="10" fill="#1f6f8b"/><text x="%d" y="17">down</text>`, labelWidth, labelWidth+14)
	fmt.Fprintf(&b, `<rect x="%d" y="8" width="10" height="10" fill="#e0a458"/><text x="%d" y="17">up, Gb/s, eight streams</text>`+"\n", labelWidth+60, labelWidth+74)
	scale := float64(chartWidth-labelWidth-70) / most
	for i, s := range subjects {
		y := 30 + i*rowHeight
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-8, y+barHeight+4, html.EscapeString(s.Name))
		bar(&b, y, scale, "#1f6f8b", s.Cells[down.String()][matrix.Throughput])
		bar(&b, y+barHeight+1, scale, "#e0a458", s.Cells[up.String()][matrix.Throughput])
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func bar(b *strings.Builder, y int, scale float64, colour string, s measure.Sample) {
	if len(s) == 0 {
		return
	}
	low, high := s.Interval()
	width, middle := s.Median()*scale, float64(y)+barHeight/2
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, labelWidth, y, width, barHeight, colour)
	fmt.Fprintf(b, `<path d="M%.1f %.1fH%.1f" stroke="#333"/>`, labelWidth+low*scale, middle, labelWidth+high*scale)
	fmt.Fprintf(b, `<text x="%.1f" y="%d" font-size="10">%.2f</text>`+"\n", labelWidth+high*scale+5, y+barHeight-2, s.Median())
}
