package accesslog

import (
	"hash/fnv"
	"math/rand/v2"

	"culvert/configs/field"
	"culvert/proxy/format"
	"culvert/proxy/matcher"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

// withHeader lets through requests that have a field. What has no request has no
// field either.
func withHeader(m *routev3.HeaderMatcher) (filter, error) {
	if m == nil {
		return nil, field.Errorf("header_filter.header", "is needed")
	}
	h, err := matcher.NewHeader(m)
	if err != nil {
		return nil, field.At("header_filter.header", err)
	}
	return func(c *format.Context) bool { return c.Request != nil && h.Matches(c.Request) }, nil
}

// sampled lets a share of the records through: the same requests at every log
// and at every culvert, by their x-request-id, or any where there is none, or
// where it is told so. Without a runtime layer its runtime_key finds nothing and
// percent_sampled holds, as in Envoy.
func sampled(m *accesslogv3.RuntimeFilter) (filter, error) {
	share, of := uint64(m.GetPercentSampled().GetNumerator()), uint64(0)
	switch d := m.GetPercentSampled().GetDenominator(); d {
	case typev3.FractionalPercent_HUNDRED:
		of = 100
	case typev3.FractionalPercent_TEN_THOUSAND:
		of = 10_000
	case typev3.FractionalPercent_MILLION:
		of = 1_000_000
	default:
		return nil, field.Errorf("runtime_filter.percent_sampled.denominator", "%v is not supported by culvert", d)
	}
	independent := m.GetUseIndependentRandomness()
	return func(c *format.Context) bool {
		id := ""
		if c.Request != nil && !independent {
			id = c.Request.Header.Get("x-request-id")
		}
		if id == "" {
			return rand.Uint64N(of) < share //nolint:gosec // a sample, not a secret
		}
		sum := fnv.New64a()
		_, _ = sum.Write([]byte(id)) // never fails
		return sum.Sum64()%of < share
	}, nil
}
