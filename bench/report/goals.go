package report

import (
	"fmt"

	"culvert/bench/load"
	"culvert/bench/matrix"
	"culvert/bench/measure"
)

const (
	tun     = "culvert, TUN"
	plainH2 = "culvert, HTTP/2 CONNECT"
	plainH1 = "culvert, HTTP/1.1 CONNECT"
	whole   = "culvert, TUN, HTTP/2 CONNECT over TLS"
)

var (
	one     = columns[:2]
	eight   = columns[2:]
	connect = load.Load{Kind: load.Connect, Streams: 16}
)

// Named are the subjects that goals are about.
func Named() []string {
	return []string{
		tun, plainH2, plainH1, whole, "culvert, HTTP/2 CONNECT over TLS", "culvert, HTTP/1.1 CONNECT over TLS", "culvert, tcp_proxy",
		"splice relay", "two splice relays", "two copy relays", "tun2socks, direct", "tun2socks, HTTP proxy",
		"sing-box, gvisor", "sing-box, system", "haproxy pair, HTTP/2", "nghttpx pair, HTTP/2",
	}
}

// Goals are what culvert sets out to reach, each against a subject of the same
// run.
func Goals() []Goal {
	var all []Goal
	add := func(g ...Goal) { all = append(all, g...) }
	add(atLeast(5, tun, "tun2socks, direct", columns...)...)
	for _, l := range columns {
		add(Goal{Text: fmt.Sprintf("%s / the best Go peer, %v", tun, l), Target: 1.2, measure: func(r *matrix.Results) measure.Sample {
			return over(sample(r, tun, l, matrix.Throughput),
				best(r, []string{"tun2socks, direct", "sing-box, gvisor", "sing-box, system"}, l, matrix.Throughput))
		}})
	}
	add(atLeast(0.45, tun, "splice relay", one...)...)
	add(atLeast(0.55, tun, "splice relay", eight...)...)
	for _, l := range columns {
		add(Goal{Text: fmt.Sprintf("%s, CPU s/GB, %v", tun, l), Target: 1.9, Most: true, measure: func(r *matrix.Results) measure.Sample {
			return sample(r, tun, l, matrix.Cost)
		}})
	}
	add(atLeast(0.7, plainH2, "two copy relays", eight...)...)
	add(atLeast(2, plainH2, "haproxy pair, HTTP/2", eight...)...)
	add(atLeast(2, plainH2, "nghttpx pair, HTTP/2", eight...)...)
	add(atLeast(0.7, "culvert, HTTP/2 CONNECT over TLS", "culvert, HTTP/1.1 CONNECT over TLS", columns...)...)
	add(atLeast(0.9, plainH1, "two splice relays", columns...)...)
	add(atLeast(2, whole, "tun2socks, HTTP proxy", columns...)...)
	add(Goal{Text: fmt.Sprintf("%s / %s, connects per second", whole, tun), Target: 0.5, measure: func(r *matrix.Results) measure.Sample {
		return ratio(r, whole, tun, connect, matrix.Rate)
	}})
	return all
}

// over is round by round, as far as both went; nil if that is nowhere.
func over(a, b measure.Sample) measure.Sample {
	n := min(len(a), len(b))
	if n == 0 {
		return nil
	}
	out, err := a[:n].Over(b[:n])
	if err != nil {
		return nil
	}
	return out
}
