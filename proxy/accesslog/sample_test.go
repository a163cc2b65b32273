package accesslog

import (
	"io"
	"testing"

	"culvert/proxy/format"
	"culvert/proxy/network"
)

func TestHeaderFilter(t *testing.T) {
	for header, want := range map[string]bool{
		`{"name": "x-log"}`: true,
		`{"name": "x-log", "string_match": {"exact": "yes"}}`:                      true,
		`{"name": "x-log", "string_match": {"exact": "no"}}`:                       false,
		`{"name": "x-log", "string_match": {"exact": "no"}, "invert_match": true}`: true,
		`{"name": "x-other"}`:                                                     false,
		`{"name": "x-other", "present_match": false}`:                             true,
		`{"name": ":method", "string_match": {"safe_regex": {"regex": "CON.*"}}}`: true,
		`{"name": ":authority", "string_match": {"suffix": ".example"}}`:          false,
	} {
		c := tunnelled()
		c.Request.Header.Set("x-log", "yes")
		list := `[{"filter": {"header_filter": {"header": ` + header + `}}, "typed_config": {"stdout", "log_format": {"text_format": "x"}}}]`
		if got, _ := once(t, list, c); (got == "x") != want {
			t.Errorf("%s: %q", header, got)
		}
		none := &format.Context{Info: network.NewStreamInfo(1)}
		if got, _ := once(t, list, none); got != "" {
			t.Errorf("%s: %q of a flow that is no request", header, got)
		}
	}
}

// A sample is as large as it is asked for, and the same for the same request
// unless it is told to be independent.
func TestRuntimeFilter(t *testing.T) {
	const n = 20_000
	for name, c := range map[string]struct {
		config string
		id     bool // the requests have ids
		share  float64
		stable bool
	}{
		"none":              {`"percent_sampled": {}`, true, 0, true},
		"unset":             {`"runtime_key": "k"`, true, 0, true},
		"all":               {`"percent_sampled": {"numerator": 100}`, true, 1, true},
		"by id":             {`"percent_sampled": {"numerator": 25}`, true, 0.25, true},
		"by id, finer":      {`"percent_sampled": {"numerator": 500, "denominator": "TEN_THOUSAND"}`, true, 0.05, true},
		"by id, finest":     {`"percent_sampled": {"numerator": 500000, "denominator": "MILLION"}`, true, 0.5, true},
		"without an id":     {`"percent_sampled": {"numerator": 25}`, false, 0.25, false},
		"independent of it": {`"percent_sampled": {"numerator": 25}, "use_independent_randomness": true`, true, 0.25, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := logger(t, `[{"filter": {"runtime_filter": {`+c.config+`}}, "typed_config": {"stdout"}}]`, NewSinks(io.Discard, io.Discard))
			passes := l.logs[0].filter
			taken, differ := 0, 0
			for range n {
				x := tunnelled()
				x.Request.Header.Del("x-request-id")
				if c.id {
					x.Request.Header.Set("x-request-id", format.NewUUID())
				}
				first := passes(x)
				if first {
					taken++
				}
				if passes(x) != first {
					differ++
				}
			}
			if got := float64(taken) / n; got < c.share-0.02 || got > c.share+0.02 {
				t.Errorf("a share of %v, want %v", got, c.share)
			}
			if (differ == 0) != c.stable {
				t.Errorf("%d of %d were decided otherwise the second time", differ, n)
			}
		})
	}
}

func TestSampleConfigErrors(t *testing.T) {
	for filter, path := range map[string]string{
		`{"header_filter": {}}`: "[0].filter.header_filter.header",
		`{"header_filter": {"header": {"name": "a", "safe_regex_match": {"regex": "("}}}}`: "[0].filter.header_filter.header.safe_regex_match.regex",
	} {
		_, err := New(parse(t, `[{"filter": `+filter+`, "typed_config": {"stdout"}}]`), DiscardSinks())
		if err == nil || len(err.Error()) < len(path) || err.Error()[:len(path)] != path {
			t.Errorf("%s: %v, want an error at %s", filter, err, path)
		}
	}
}
