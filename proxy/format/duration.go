package format

import (
	"strings"
	"time"

	"culvert/proxy/network"
)

func durationOperators() map[string]definition {
	milliseconds := func(from, to point) definition {
		return definition{build: func(string) (operator, string) {
			return between(from, to, time.Millisecond), ""
		}}
	}
	return map[string]definition{
		"DURATION":             milliseconds(begin, end),
		"RESPONSE_DURATION":    milliseconds(begin, last(network.StepAnswered)),
		"RESPONSE_TX_DURATION": milliseconds(last(network.StepAnswered), end),
		"UPSTREAM_CONNECTION_POOL_READY_DURATION": milliseconds(
			last(network.StepPicked), last(network.StepConnected)),
		"COMMON_DURATION": {rule: mustParam, build: buildCommonDuration},
	}
}

// point is a dated moment of a flow; false if it did not come to it.
type point func(info *network.StreamInfo) (time.Time, bool)

func begin(info *network.StreamInfo) (time.Time, bool) { return info.Start, true }

// end is when the flow ended, now if it has not.
func end(info *network.StreamInfo) (time.Time, bool) {
	if at, ok := last(network.StepEnded)(info); ok {
		return at, true
	}
	return time.Now(), true
}

// last is the last step of that name: that of the attempt that stood.
func last(step string) point {
	return func(info *network.StreamInfo) (time.Time, bool) {
		steps := info.Steps()
		for i := len(steps) - 1; i >= 0; i-- {
			if steps[i].Name == step {
				return info.Start.Add(steps[i].After), true
			}
		}
		return time.Time{}, false
	}
}

// pointNamed is Envoy's name of a moment culvert dates. The others (the last
// byte of one direction, the end of a handshake alone) are not dated.
func pointNamed(name string) (point, bool) {
	switch name {
	case "DS_RX_BEG":
		return begin, true
	case "US_CX_BEG":
		return last(network.StepPicked), true
	case "US_CX_END", "US_HS_END": // connected means that the handshake is over
		return last(network.StepConnected), true
	case "US_TX_BEG":
		return last(network.StepRequested), true
	case "US_RX_BEG":
		return last(network.StepAnswered), true
	case "DS_TX_BEG":
		return last(network.StepAccepted), true
	case "DS_TX_END":
		return end, true
	}
	return nil, false
}

// buildCommonDuration is COMMON_DURATION(START:END:PRECISION).
func buildCommonDuration(param string) (operator, string) {
	parts := strings.Split(param, ":")
	if len(parts) != 3 {
		return operator{}, "parameter is START:END:PRECISION"
	}
	from, ok := pointNamed(parts[0])
	if !ok {
		return operator{}, parts[0] + " is no point in time that culvert dates"
	}
	to, ok := pointNamed(parts[1])
	if !ok {
		return operator{}, parts[1] + " is no point in time that culvert dates"
	}
	unit, ok := map[string]time.Duration{
		"ms": time.Millisecond, "us": time.Microsecond, "ns": time.Nanosecond,
	}[parts[2]]
	if !ok {
		return operator{}, "precision is ms, us or ns"
	}
	return between(from, to, unit), ""
}

func between(from, to point, unit time.Duration) operator {
	return numberOperator(func(c *Context) (int64, bool) {
		a, okA := from(c.Info)
		b, okB := to(c.Info)
		if !okA || !okB || b.Before(a) {
			return 0, false
		}
		return int64(b.Sub(a) / unit), true
	})
}
