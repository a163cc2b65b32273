package report

import (
	"fmt"
	"slices"

	"culvert/bench/load"
	"culvert/bench/matrix"
	"culvert/bench/subject"
)

const (
	tun          = "culvert, TUN"
	plainH2      = "culvert, HTTP/2 CONNECT"
	plainH1      = "culvert, HTTP/1.1 CONNECT"
	tlsH2        = "culvert, HTTP/2 CONNECT over TLS"
	tlsH1        = "culvert, HTTP/1.1 CONNECT over TLS"
	ordinaryUser = "culvert, HTTP/1.1 CONNECT, ordinary user"
	pipeline     = "culvert, whole pipeline"
	whole        = "culvert, TUN, HTTP/2 CONNECT over TLS"
	twoSplices   = "two splice relays"
	farWhole     = whole + ", impaired link"
	farDirect    = "direct TCP, impaired link"
)

// goPeers are those that are written in Go and take packets, as culvert does.
var (
	goPeers = named{"the best Go peer", []string{"tun2socks, direct", "sing-box, gvisor", "sing-box, gvisor, MTU 9000", "sing-box, system"}}
	peers   = named{"the best peer", append(slices.Clone(goPeers.subjects), "slirp4netns", "pasta")}
)

// Loads that goals are about.
var (
	columns = []load.Load{ // in which throughput is compared
		{Kind: load.Down, Streams: 1}, {Kind: load.Up, Streams: 1}, {Kind: load.Down, Streams: 8}, {Kind: load.Up, Streams: 8},
	}
	one      = columns[:2]
	eight    = columns[2:]
	many     = []load.Load{{Kind: load.Down, Streams: 64}, {Kind: load.Up, Streams: 64}}
	busy     = []load.Load{{Kind: load.Down, Streams: subject.BusyStreams}, {Kind: load.Up, Streams: subject.BusyStreams}}
	connects = load.Load{Kind: load.Connect, Streams: 16}
	alone    = load.Load{Kind: load.Connect, Streams: 1}
	pingPong = load.Load{Kind: load.PingPong, Streams: 1}
	burst    = load.Load{Kind: load.Burst, Streams: 3000, Size: 1 << 10}
	idle     = load.Load{Kind: load.Idle}
	requests = []load.Load{{Kind: load.Requests, Streams: 16, Size: 1 << 10}, {Kind: load.Requests, Streams: 8, Size: 1 << 20}}
)

// Loads are all that are measured.
func Loads() []load.Load {
	return slices.Concat(columns, many, busy, []load.Load{connects, alone, pingPong, burst, idle}, requests)
}

// Goals are what culvert sets out to reach, each against a subject of the same
// run.
func Goals() []Goal {
	return slices.Concat(captureGoals(), tunnelGoals(), wholeGoals(), flowGoals(), furtherGoals())
}

// Orientation is what is measured with the goals, though none is about it: what
// there would be with nothing or little in the way.
func Orientation() (cells [][2]string) {
	for _, l := range columns {
		cells = append(cells, [2]string{"veth", l.String()})
	}
	for _, l := range []load.Load{connects, alone, pingPong} {
		cells = append(cells, [2]string{"splice relay", l.String()})
	}
	return append(cells, [2]string{whole, alone.String()}, [2]string{whole, pingPong.String()})
}

func captureGoals() (all []Goal) {
	all = append(all, atLeast(5, tun, only("tun2socks, direct"), columns...)...)
	all = append(all, atLeast(1.2, tun, goPeers, columns...)...)
	all = append(all, atLeast(0.45, tun, only("splice relay"), one...)...)
	all = append(all, atLeast(0.55, tun, only("splice relay"), eight...)...)
	all = append(all, costs(1.9)...)
	// The round trip is that of the application's own words; a gateway's is the
	// same in here.
	return append(all, Goal{
		Text: tun + ", connect p50, beyond veth's and a round trip, µs", Target: 300, Most: true,
		figure: figure{
			cells: []cellOf{{tun, alone, matrix.Connected}, {"veth", alone, matrix.Connected}, {"veth", pingPong, matrix.P50}},
			of:    func(v []float64) float64 { return v[0] - v[1] - v[2] },
		},
	})
}

// costs are of processor time through the TUN.
func costs(most float64) (all []Goal) {
	for _, l := range columns {
		all = append(all, Goal{
			Text: fmt.Sprintf("%s, CPU s/GB, %v", tun, l), Target: most, Most: true, figure: just(tun, l, matrix.Cost),
		})
	}
	return all
}

func tunnelGoals() (all []Goal) {
	all = append(all, atLeast(0.7, plainH2, only("two copy relays"), eight...)...)
	all = append(all, atLeast(2, plainH2, only("haproxy pair, HTTP/2"), eight...)...)
	all = append(all, atLeast(2, plainH2, only("nghttpx pair, HTTP/2"), eight...)...)
	all = append(all, atLeast(0.7, tlsH2, only(tlsH1), columns...)...)
	all = append(all, atLeast(0.9, plainH1, only(twoSplices), columns...)...)
	all = append(all, atLeast(0.9, ordinaryUser, only(twoSplices), busy...)...)
	all = append(all, Goal{
		Text: ordinaryUser + ", ends of pipes that idle flows hold", Target: 0, Most: true, figure: just(ordinaryUser, idle, matrix.Pipes),
	})
	for _, l := range columns {
		all = append(all, Goal{
			Text:   fmt.Sprintf("%s / bare relay, CPU s/GB, %v", pipeline, l),
			Target: 1.05, Most: true, Comparable: true,
			figure: overBest(pipeline, []string{"bare relay"}, l, matrix.Cost),
		})
	}
	return all
}

func wholeGoals() (all []Goal) {
	all = append(all, atLeast(2, whole, only("tun2socks, HTTP proxy"), columns...)...)
	all = append(all, Goal{
		Text: fmt.Sprintf("%s / %s, connects per second", whole, tun), Target: 0.5, Comparable: true,
		figure: overBest(whole, []string{tun}, connects, matrix.Rate),
	})
	for _, l := range eight { // whose processor time is another matter
		all = append(all, Goal{
			Text: fmt.Sprintf("%s / %s, %v", farWhole, farDirect, l), Target: 0.8, Comparable: true,
			figure: overBest(farWhole, []string{farDirect}, l, matrix.Throughput),
		})
	}
	return all
}

// flowGoals are of what flows take that do little.
func flowGoals() []Goal {
	perFlow := func(who, process string, most float64) Goal {
		return Goal{
			Text: fmt.Sprintf("%s, KB per idle flow, %s", who, process), Target: most, Most: true, Comparable: true,
			figure: kilobytes(who, process),
		}
	}
	return []Goal{
		perFlow(tun, "culvert", 24), perFlow(plainH2, "gateway", 12),
		{Text: fmt.Sprintf("%s, %v, ms", tun, burst), Target: 1000, Most: true, figure: just(tun, burst, matrix.Answered)},
	}
}

func kilobytes(subject, process string) figure {
	return figure{
		cells: []cellOf{{subject, idle, matrix.PerFlow(process)}},
		of:    func(v []float64) float64 { return v[0] / 1e3 },
	}
}

// furtherGoals are beyond what was set out to reach.
func furtherGoals() (all []Goal) {
	all = append(all, atLeast(0.75, tun, only("splice relay"), columns...)...)
	all = append(all, costs(1.0)...)
	all = append(all, Goal{
		Text: tun + " / the best peer, connects per second", Target: 1, Comparable: true,
		figure: overBest(tun, peers.subjects, connects, matrix.Rate),
	}, Goal{
		Text: "the best peer / " + tun + ", ping-pong p50", Target: 1, Comparable: true,
		figure: underBest(tun, peers.subjects, pingPong, matrix.P50),
	}, Goal{
		Text: tun + ", KB per idle flow, culvert", Target: 12, Most: true, Comparable: true, figure: kilobytes(tun, "culvert"),
	})
	all = append(all, atLeast(0.85, tlsH2, only(tlsH1), columns...)...)
	for i := range all {
		all[i].Further = true
	}
	return all
}
