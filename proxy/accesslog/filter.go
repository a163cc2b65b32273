package accesslog

import (
	"fmt"
	"slices"

	"culvert/configs/field"
	"culvert/proxy/format"
	"culvert/proxy/network"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
)

// filter decides whether a record is written.
type filter func(c *format.Context) bool

// newFilter compiles an AccessLogFilter; nil, which lets everything through,
// for none. Errors are relative to it.
func newFilter(m *accesslogv3.AccessLogFilter) (filter, error) {
	switch f := m.GetFilterSpecifier().(type) {
	case nil:
		if m != nil {
			return nil, field.Errorf("", "names no filter")
		}
		return nil, nil
	case *accesslogv3.AccessLogFilter_StatusCodeFilter:
		return comparing("status_code_filter", f.StatusCodeFilter.GetComparison(), statusOf)
	case *accesslogv3.AccessLogFilter_DurationFilter:
		return comparing("duration_filter", f.DurationFilter.GetComparison(), millisecondsOf)
	case *accesslogv3.AccessLogFilter_NotHealthCheckFilter:
		// Requests are told to be health checks by the health_check HTTP filter,
		// which culvert does not have: none is.
		return func(*format.Context) bool { return true }, nil
	case *accesslogv3.AccessLogFilter_AndFilter:
		return combined("and_filter", f.AndFilter.GetFilters(), func(list []filter, c *format.Context) bool {
			return !slices.ContainsFunc(list, func(f filter) bool { return !f(c) })
		})
	case *accesslogv3.AccessLogFilter_OrFilter:
		return combined("or_filter", f.OrFilter.GetFilters(), func(list []filter, c *format.Context) bool {
			return slices.ContainsFunc(list, func(f filter) bool { return f(c) })
		})
	case *accesslogv3.AccessLogFilter_ResponseFlagFilter:
		return flagged(f.ResponseFlagFilter.GetFlags())
	case *accesslogv3.AccessLogFilter_HeaderFilter:
		return withHeader(f.HeaderFilter.GetHeader())
	case *accesslogv3.AccessLogFilter_RuntimeFilter:
		return sampled(f.RuntimeFilter)
	case *accesslogv3.AccessLogFilter_LogTypeFilter:
		return ofType(f.LogTypeFilter), nil
	}
	return nil, field.Errorf("", "this kind of filter is not supported by culvert")
}

func statusOf(c *format.Context) uint64 {
	if c.Info.ResponseCode == 0 && c.Response != nil {
		return uint64(c.Response.Status)
	}
	return uint64(c.Info.ResponseCode)
}

func millisecondsOf(c *format.Context) uint64 { return uint64(c.Info.Duration().Milliseconds()) }

// comparing compiles a comparison. Without a runtime layer its runtime_key
// finds nothing and the default value holds, as in Envoy.
func comparing(path string, m *accesslogv3.ComparisonFilter, get func(c *format.Context) uint64) (filter, error) {
	want := uint64(m.GetValue().GetDefaultValue())
	switch m.GetOp() {
	case accesslogv3.ComparisonFilter_EQ:
		return func(c *format.Context) bool { return get(c) == want }, nil
	case accesslogv3.ComparisonFilter_GE:
		return func(c *format.Context) bool { return get(c) >= want }, nil
	case accesslogv3.ComparisonFilter_LE:
		return func(c *format.Context) bool { return get(c) <= want }, nil
	case accesslogv3.ComparisonFilter_NE:
		return func(c *format.Context) bool { return get(c) != want }, nil
	}
	return nil, field.Errorf(path+".comparison.op", "%v is not supported by culvert", m.GetOp())
}

func combined(path string, filters []*accesslogv3.AccessLogFilter, decide func([]filter, *format.Context) bool) (filter, error) {
	var list []filter
	var errs []error
	for i, m := range filters {
		f, err := newFilter(m)
		errs = append(errs, field.At(field.Index(path+".filters", i), err))
		list = append(list, f)
	}
	return func(c *format.Context) bool { return decide(list, c) }, field.Join(errs...)
}

// flagged lets through what has one of the flags, or any where none is named.
func flagged(names []string) (filter, error) {
	var mask network.Flag
	var errs []error
	for i, name := range names {
		f, ok := flagNamed(name)
		if !ok {
			errs = append(errs, field.At(field.Index("response_flag_filter.flags", i), fmt.Errorf("%q is not a response flag", name)))
		}
		mask |= f
	}
	if len(names) == 0 {
		mask = ^network.Flag(0)
	}
	return func(c *format.Context) bool { return c.Info.Flags&mask != 0 }, field.Join(errs...)
}

func flagNamed(name string) (network.Flag, bool) {
	for f := network.Flag(1); f != 0; f <<= 1 {
		if s := f.String(); s == name && s != "" {
			return f, true
		}
	}
	return 0, false
}

func ofType(m *accesslogv3.LogTypeFilter) filter {
	names := make(map[string]bool)
	for _, t := range m.GetTypes() {
		names[t.String()] = true
	}
	return func(c *format.Context) bool {
		name := c.LogType
		if name == "" {
			name = NotSet
		}
		return names[name] != m.GetExclude()
	}
}
