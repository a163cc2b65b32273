package listener

import (
	"context"
	"fmt"
	"log/slog"

	"culvert/configs/field"
	"culvert/proxy/accesslog"
	"culvert/proxy/format"
	"culvert/proxy/network"
	"culvert/proxy/stats"
	"culvert/proxy/transport"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// Deps are the collaborators. NetworkFilter, Stats and Flows are required.
type Deps struct {
	// NetworkFilter compiles a network filter, found by the type of its
	// configuration.
	NetworkFilter func(*listenerv3.Filter) (network.Handler, error)
	Transport     transport.Deps
	Stats         *stats.Store
	Flows         *network.FlowTable
	AccessLog     *accesslog.Sinks
	Log           *slog.Logger
	// InternalListeners: the bootstrap extension is there. Without it an
	// internal listener is a configuration error.
	InternalListeners bool
	// Admit takes a place among the connections that kernel sockets may have in
	// all; false refuses one. release gives the place back. nil: no limit.
	Admit func() (release func(), ok bool)
	// Await returns when a connection of a kernel socket may be served, or with
	// network.ErrOverload if it is to be closed. nil: at once.
	Await func(context.Context) error
}

// Listener is compiled and immutable. It is safe from any goroutine.
type Listener struct {
	name       string
	internal   bool
	bind       bool
	address    network.Address
	deps       Deps
	n          *counters
	chains     []*chain
	fallback   *chain // default_filter_chain; nil: none
	log        *accesslog.Logger
	inspection inspection
}

// New compiles a Listener message. Errors are field errors.
func New(m *listenerv3.Listener, d Deps) (*Listener, error) {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	l := &Listener{
		name: m.GetName(), internal: m.GetInternalListener() != nil, deps: d,
		bind: m.GetBindToPort() == nil || m.GetBindToPort().GetValue(),
	}
	if err := checkKind(m, d.InternalListeners); err != nil {
		return nil, err
	}
	var errs [5]error
	if !l.internal {
		l.address, errs[0] = bindAddress(m.GetAddress())
	}
	scope := scopeOf(d.Stats, l.statPrefix(m))
	d.Transport.Stats = scope
	l.chains, errs[1] = newChains(l.label(), m.GetFilterChains(), d)
	if m.GetDefaultFilterChain() != nil {
		l.fallback, errs[2] = newChain(m.GetDefaultFilterChain(), d)
	}
	l.log, errs[3] = accesslog.New(m.GetAccessLog(), d.AccessLog)
	if len(m.GetFilterChains()) == 0 && l.fallback == nil && errs[2] == nil {
		errs[1] = field.Errorf("filter_chains", "error adding listener '%s': no filter chains specified", l.label())
	}
	l.inspection, errs[4] = newInspection(m, d.Stats.Scope(""), scope)
	err := field.Join(field.At("address", errs[0]), errs[4], errs[1], field.At("default_filter_chain", errs[2]), field.At("access_log", errs[3]))
	if err != nil {
		return nil, err
	}
	l.n = newCounters(scope)
	return l, nil
}

// Name is the listener's name; empty if the configuration gave none.
func (l *Listener) Name() string { return l.name }

// Internal reports an internal listener: flows come through ServeFlow only.
func (l *Listener) Internal() bool { return l.internal }

// Address is what to bind; unset for an internal listener.
func (l *Listener) Address() network.Address { return l.address }

// Bind reports whether a socket is wanted (bind_to_port).
func (l *Listener) Bind() bool { return l.bind && !l.internal }

// label is how Envoy's errors name the listener: its address, or its name.
func (l *Listener) label() string {
	if l.internal || l.address.IsZero() {
		return l.name
	}
	return l.address.String()
}

func (l *Listener) statPrefix(m *listenerv3.Listener) string {
	switch {
	case m.GetStatPrefix() != "":
		return m.GetStatPrefix()
	case l.internal:
		return "envoy_internal_" + l.name
	}
	return l.address.String()
}

// ServeFlow serves a flow to its end: the listener filters, the filter chain
// that matches, its transport, its terminal filter. The flow stays unanswered
// where no listener filter needs bytes and the chain has no transport to
// hand-shake.
func (l *Listener) ServeFlow(ctx context.Context, f network.Flow) error {
	l.n.begin()
	defer l.ended(f.Info())
	h, f, err := l.admit(ctx, f)
	if err != nil {
		return err
	}
	return h.ServeFlow(ctx, f)
}

// admit finds the chain of a flow and makes of the flow what the chain serves.
func (l *Listener) admit(ctx context.Context, f network.Flow) (network.Handler, network.Flow, error) {
	info := f.Info()
	info.Listener = l.name
	if l.internal {
		if err := info.Enter(l.name); err != nil {
			return nil, nil, l.loop(f, err)
		}
	}
	f, err := l.inspect(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	c := l.match(info)
	if c == nil {
		return nil, nil, l.noChain(f)
	}
	info.FilterChain = c.name
	info.Mark(network.StepMatched)
	f, err = l.wrap(ctx, c, f)
	return c.handler, f, err
}

func (l *Listener) ended(info *network.StreamInfo) {
	l.log.Log(&format.Context{Info: info, LogType: accesslog.NotSet})
	l.n.end(info)
}

func (l *Listener) noChain(f network.Flow) error {
	l.n.noFilterChain.Inc()
	err := network.WithReason(network.ReasonNoRoute, fmt.Errorf("listener %q: no filter chain matches", l.name))
	f.Info().Details = "filter_chain_not_found"
	f.Info().Fail(err)
	f.Reject(err)
	return err
}

// loop refuses a flow that has come here too often.
func (l *Listener) loop(f network.Flow, err error) error {
	f.Info().Details = network.ReasonLoop.Token()
	f.Info().Fail(err)
	f.Reject(err)
	return err
}

// match finds the flow's chain; nil if there is none.
func (l *Listener) match(info *network.StreamInfo) *chain {
	if c := matchChain(l.chains, info); c != nil {
		return c
	}
	return l.fallback
}

// checkKind tells internal listeners from those with an address, in Envoy's
// words.
func checkKind(m *listenerv3.Listener, extension bool) error {
	internal := m.GetInternalListener() != nil
	fail := func(path, format string) error {
		return field.Errorf(path, "error adding listener "+format, m.GetName())
	}
	switch {
	case internal && m.GetAddress() != nil:
		return fail("address", "'%s': address should not be used when an internal listener config is provided")
	case internal && m.GetApiListener() != nil:
		return fail("api_listener", "named '%s': api_listener and internal_listener cannot be both set")
	case !internal && m.GetAddress() == nil:
		return fail("address", "named '%s': address is necessary")
	case m.GetAddress().GetEnvoyInternalAddress() != nil:
		return fail("address.envoy_internal_address", "named '%s': use internal_listener field instead of address for internal listeners")
	case internal && hasSocketFeature(m):
		return fail("", "named '%s': has unsupported tcp listener feature")
	case internal && len(m.GetSocketOptions()) > 0:
		return fail("socket_options", "named '%s': does not support socket option")
	case internal && !extension:
		return field.WithFix(fail("internal_listener", "named '%s': InternalListener bootstrap extension is mandatory"),
			`bootstrap_extensions: [{name: envoy.bootstrap.internal_listener, typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}}]`)
	case internal && m.GetName() == "":
		return field.Errorf("name", "an internal listener is found by its name: it needs one")
	}
	return nil
}

// hasSocketFeature reports fields that only a kernel socket has.
func hasSocketFeature(m *listenerv3.Listener) bool {
	return m.GetConnectionBalanceConfig() != nil || m.GetEnableMptcp() || m.GetEnableReusePort() != nil ||
		m.GetFreebind() != nil || m.GetTcpBacklogSize() != nil || m.GetTcpFastOpenQueueLength() != nil || m.GetTransparent() != nil
}

// bindAddress is a literal IP and port, or a unix socket's path. Port 0 leaves
// the choice to the kernel.
func bindAddress(m *corev3.Address) (network.Address, error) {
	switch a := m.GetAddress().(type) {
	case *corev3.Address_Pipe:
		return network.PipeAddress(a.Pipe.GetPath()), nil
	case *corev3.Address_SocketAddress:
		sa := a.SocketAddress
		if sa.GetProtocol() != corev3.SocketAddress_TCP {
			return network.Address{}, field.Errorf("socket_address.protocol", "only TCP listeners are supported")
		}
		if sa.GetPortValue() > 65535 {
			return network.Address{}, field.Errorf("socket_address.port_value", "port must be at most 65535")
		}
		addr := network.NameAddress(sa.GetAddress(), uint16(sa.GetPortValue()))
		if addr.Kind != network.AddressIP {
			return network.Address{}, field.Errorf("socket_address.address", "malformed IP address: %s", sa.GetAddress())
		}
		return addr, nil
	}
	return network.Address{}, field.Errorf("", "a socket_address or pipe is needed")
}
