package cluster

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"

	"culvert/proxy/network"
)

// Sizes of a ring, entries; Envoy's defaults.
const (
	defaultMinRing = 1024
	defaultMaxRing = 8 << 20
)

// ringHash sends flows of one hash to one endpoint, and moves few of them when
// endpoints come and go: each endpoint is on a ring many times, as often as it
// weighs, and a hash belongs to the next on its way. A flow without a hash goes
// anywhere.
func ringHash(minSize, maxSize uint64, byName bool) balancer {
	return func(hosts []*host) picker {
		total, least := 0.0, math.MaxFloat64
		for _, h := range hosts {
			total += float64(h.weight)
			least = min(least, float64(h.weight))
		}
		// The lightest endpoint gets a whole number of entries, so that the
		// others' shares are right.
		scale := math.Ceil(least/total*float64(minSize)) / (least / total)
		scale = min(scale, float64(maxSize))
		r := &ring{hosts: hosts}
		want, have := 0.0, 0.0
		for _, h := range hosts {
			want += scale * float64(h.weight) / total
			key := h.address.String()
			if byName && h.name != "" {
				key = h.name
			}
			for i := 0; have < want; i++ {
				r.entries = append(r.entries, entry{network.Hash64(key + "_" + strconv.Itoa(i)), h})
				have++
			}
		}
		slices.SortFunc(r.entries, func(a, b entry) int { return cmp.Compare(a.hash, b.hash) })
		return r
	}
}

type entry struct {
	hash uint64
	host *host
}

type ring struct {
	hosts   []*host
	entries []entry // by hash
}

func (r *ring) pick(info *network.StreamInfo) *host {
	hash, ok := info.Hash()
	if !ok {
		hash = rand.Uint64()
	}
	i := sort.Search(len(r.entries), func(i int) bool { return r.entries[i].hash >= hash })
	return r.entries[i%len(r.entries)].host
}
