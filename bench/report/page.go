package report

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"culvert/bench/matrix"
	"culvert/bench/subject"
)

// method and notes are the parts of the page that are written by hand.
var (
	//go:embed method.md
	method string
	//go:embed notes.md
	notes string
)

// groups are the page's sections.
var groups = []struct {
	subject.Group
	title, about string
}{
	{subject.Relay, "One relay", "An application connects to one relay, which connects to the origin. `veth` is no relay at all."},
	{subject.Capture, "Capturing", "Packets of a program, taken from a device and carried on as connections."},
	{subject.Tunnel, "A pair with a tunnel between", "An application connects to the first of a pair, the second connects to the origin; between the two goes what the name says."},
	{subject.Whole, "Capturing into a tunnel", "Packets of a program, through a tunnel, out at a gateway."},
	{subject.Impaired, "Over a link that is slow and loses packets", "A round trip of 50 ms, and one of a hundred packets is lost, each way. `direct TCP` is the kernel's, over the same link."},
	{subject.Requests, "Requests", "Requests in HTTP/1.1 on connections that stay, through one proxy, or through a pair with HTTP/2 in the clear between. `no proxy` is the origin itself."},
}

// Page writes a page to path, with charts beside it.
func Page(path string, r *matrix.Results, m Machine) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Performance\n\n<!-- Written by `make bench`; what is not measured comes from bench/report/*.md. -->\n\n")
	fmt.Fprintf(&b, "Medians of %d rounds in turns, with the interval that holds the median with at least 90 %%.\n\n%s\n", r.Rounds, m.Markdown())
	reachTables(&b, Reach(r, Goals()))
	for _, g := range groups {
		subjects := in(r, g.Group)
		if len(subjects) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", g.title, g.about)
		if g.Group == subject.Requests {
			requestsTable(&b, subjects)
			failures(&b, subjects)
			continue
		}
		name := fmt.Sprintf("performance-%s.svg", g.Group)
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte(Chart(subjects)), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&b, "![throughput of eight streams](%s)\n\n", name)
		throughputTable(&b, subjects)
		costTable(&b, subjects)
		turnsTable(&b, subjects)
		flowsTable(&b, subjects)
		failures(&b, subjects)
	}
	fmt.Fprintf(&b, "\n%s\n%s", method, notes)
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

func in(r *matrix.Results, g subject.Group) (out []matrix.Measured) {
	for _, s := range r.Subjects {
		if s.Group == string(g) {
			out = append(out, s)
		}
	}
	return out
}

func reachTables(w io.Writer, all []Reached) {
	fmt.Fprint(w, "\n## How far it reaches\n\n"+
		"A line holds when the median reaches the target and the bad end of the interval is within 15 % of it. "+
		"Where the target lies inside of the interval of a throughput, which is a tie, processor time per gigabyte decides.\n\n")
	reachTable(w, all, false)
	fmt.Fprint(w, "\nBeyond that:\n\n")
	reachTable(w, all, true)
}

func reachTable(w io.Writer, all []Reached, further bool) {
	fmt.Fprint(w, "| what | median | 90 % | target | | by CPU s/GB |\n|---|---:|---:|---:|---|---:|\n")
	for _, r := range all {
		if r.Further != further {
			continue
		}
		if !r.Measured {
			fmt.Fprintf(w, "| %s | | | %s | %s | |\n", r.Text, r.bound(), r.Verdict())
			continue
		}
		cost, verdict := "", string(r.Verdict())
		if r.Cost.Measured {
			cost = fmt.Sprintf("%.2f", r.Cost.Median)
		}
		if r.Verdict() == Fails {
			verdict = "**no**"
		}
		fmt.Fprintf(w, "| %s | %.2f | %.2f–%.2f | %s | %s | %s |\n", r.Text, r.Median, r.Low, r.High, r.bound(), verdict, cost)
	}
}

// bound is what a goal wants.
func (g Goal) bound() string {
	if g.Most {
		return fmt.Sprintf("≤ %g", g.Target)
	}
	return fmt.Sprintf("≥ %g", g.Target)
}
