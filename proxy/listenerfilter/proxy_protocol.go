package listenerfilter

import (
	"context"
	"errors"
	"fmt"
	"io"

	"culvert/configs/field"
	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/proxy/transport/proxyprotocol"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ppv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
)

// ProxyProtocol takes a PROXY header from the front of a connection and puts
// its two ends in place of the socket's. It is immutable.
type ProxyProtocol struct {
	versions []proxyprotocol.Version // that are looked for
	optional bool                    // a connection may begin without a header
	refused  []proxyprotocol.Version // looked for to be refused by name
	rules    []rule
	passing  *proxyprotocol.Passing
	inState  bool // rules write filter state, not metadata
	n        *proxyCounters
}

// NewProxyProtocol compiles the filter. Errors are field errors.
func NewProxyProtocol(m *ppv3.ProxyProtocol, d Deps) (*ProxyProtocol, error) {
	f := &ProxyProtocol{
		optional: m.GetAllowRequestsWithoutProxyProtocol(),
		inState:  m.GetTlvLocation() == ppv3.ProxyProtocol_FILTER_STATE,
	}
	disallowed := make(map[proxyprotocol.Version]bool)
	for _, v := range m.GetDisallowedVersions() {
		if v == corev3.ProxyProtocolConfig_V2 {
			disallowed[proxyprotocol.V2] = true
		} else {
			disallowed[proxyprotocol.V1] = true
		}
	}
	for _, v := range []proxyprotocol.Version{proxyprotocol.V1, proxyprotocol.V2} {
		switch {
		case !disallowed[v]:
			f.versions = append(f.versions, v)
		case !f.optional: // else its bytes are payload like any
			f.refused = append(f.refused, v)
		}
	}
	var errs [2]error
	f.rules, errs[0] = newRules(m.GetRules(), f.inState)
	f.passing, errs[1] = proxyprotocol.NewPassing(m.GetPassThroughTlvs())
	if err := field.Join(errs[0], field.At("pass_through_tlvs", errs[1])); err != nil {
		return nil, err
	}
	f.n = newProxyCounters(d.withDefaults(), m.GetStatPrefix())
	return f, nil
}

// errNoHeader is a connection that does not begin as it must.
var errNoHeader = network.WithReason(network.ReasonDenied, errors.New("the connection begins without a PROXY header"))

// Inspect implements Filter.
func (f *ProxyProtocol) Inspect(ctx context.Context, p *network.Peek) error {
	v, err := f.detect(ctx, p)
	switch {
	case err != nil:
		return err
	case v == 0 && f.optional:
		f.n.notFoundAllowed.Inc()
		return nil
	case v == 0:
		f.n.notFoundDisallowed.Inc()
		f.n.legacyError.Inc()
		return errNoHeader
	}
	n := f.n.version(v)
	for _, r := range f.refused {
		if v == r {
			n.disallowed.Inc()
			f.n.legacyError.Inc()
			return network.WithReason(network.ReasonDenied, fmt.Errorf("PROXY headers of %s are disallowed", v))
		}
	}
	h, err := f.read(ctx, p, v)
	if err != nil {
		if ctx.Err() == nil {
			n.failed.Inc()
			f.n.legacyError.Inc()
		}
		return err
	}
	n.found.Inc()
	f.apply(h, p.Info())
	return nil
}

// detect waits until it is clear how the connection begins. One that ends
// before that has no header.
func (f *ProxyProtocol) detect(ctx context.Context, p *network.Peek) (proxyprotocol.Version, error) {
	among := append(append([]proxyprotocol.Version{}, f.versions...), f.refused...)
	var b []byte
	for {
		if v, decided := proxyprotocol.Detect(b, among...); decided {
			return v, nil
		}
		var err error
		if b, err = p.Ahead(ctx, len(b)+1); errors.Is(err, io.EOF) {
			return 0, nil
		} else if err != nil {
			return 0, err
		}
	}
}

// read waits for the whole header and takes it from the connection.
func (f *ProxyProtocol) read(ctx context.Context, p *network.Peek, v proxyprotocol.Version) (*proxyprotocol.Header, error) {
	for need := 1; ; {
		b, err := p.Ahead(ctx, need)
		if err != nil {
			return nil, err
		}
		h, n, err := proxyprotocol.Parse(b, v)
		switch {
		case err == nil:
			p.Discard(n)
			return h, nil
		case !errors.Is(err, proxyprotocol.ErrIncomplete):
			return nil, network.WithReason(network.ReasonDenied, err)
		}
		need = n
	}
}

// apply puts what the header says into info.
func (f *ProxyProtocol) apply(h *proxyprotocol.Header, info *network.StreamInfo) {
	if !h.Local {
		info.RemoteAddress, info.LocalAddress = h.Source, h.Destination
	}
	f.applyRules(h.TLVs, info)
	// What a header towards upstream says, whoever makes it.
	info.SetFilterState(proxyprotocol.StateKey, &proxyprotocol.State{
		Source: info.RemoteAddress, Destination: info.LocalAddress, TLVs: f.passing.Of(h.TLVs),
	})
}

// proxyCounters are Envoy's proxy_proto.*.
type proxyCounters struct {
	notFoundAllowed, notFoundDisallowed *stats.Counter
	legacyError                         *stats.Counter // of the listener
	v1, v2                              *versionCounters
}

type versionCounters struct{ found, disallowed, failed *stats.Counter }

func newProxyCounters(d Deps, prefix string) *proxyCounters {
	s := d.Stats.Scope("proxy_proto.")
	if prefix != "" {
		s = s.Scope(prefix+".", stats.Tag{Name: "envoy_proxy_protocol_prefix", Value: prefix})
	}
	version := func(v proxyprotocol.Version) *versionCounters {
		s := s.Scope("versions." + v.String() + ".")
		return &versionCounters{s.Counter("found"), s.Counter("disallowed"), s.Counter("error")}
	}
	return &proxyCounters{
		notFoundAllowed: s.Counter("not_found_allowed"), notFoundDisallowed: s.Counter("not_found_disallowed"),
		legacyError: d.Listener.Counter("downstream_cx_proxy_proto_error"),
		v1:          version(proxyprotocol.V1), v2: version(proxyprotocol.V2),
	}
}

func (n *proxyCounters) version(v proxyprotocol.Version) *versionCounters {
	if v == proxyprotocol.V1 {
		return n.v1
	}
	return n.v2
}
