package listener

import (
	"context"
	"errors"
	"fmt"
	"time"

	"culvert/configs/field"
	"culvert/proxy/listenerfilter"
	"culvert/proxy/network"
	"culvert/proxy/stats"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// defaultFiltersTimeout bounds the listener filters, as Envoy's
// listener_filters_timeout does where it is unset.
const defaultFiltersTimeout = 15 * time.Second

// errFiltersTimeout is the cause of a context that listener_filters_timeout
// ended.
var errFiltersTimeout = errors.New("listener filters timed out")

// inspection is what looks at a connection before its chain is chosen.
type inspection struct {
	filters []listenerfilter.Filter
	timeout time.Duration // 0: none
	// goOn lets a connection on which the filters timed out go on without them.
	goOn bool
}

func newInspection(m *listenerv3.Listener, process, scope *stats.Scope) (inspection, error) {
	in := inspection{timeout: defaultFiltersTimeout, goOn: m.GetContinueOnListenerFiltersTimeout()}
	if t := m.GetListenerFiltersTimeout(); t != nil {
		in.timeout = t.AsDuration()
	}
	var errs []error
	for i, lf := range m.GetListenerFilters() {
		f, err := listenerfilter.New(lf, listenerfilter.Deps{Stats: process, Listener: scope})
		errs = append(errs, field.At(field.Index("listener_filters", i), err))
		in.filters = append(in.filters, f)
	}
	return in, field.Join(errs...)
}

// inspect runs the listener filters. The flow stays unanswered unless one of
// them had to see bytes.
func (l *Listener) inspect(ctx context.Context, f network.Flow) (network.Flow, error) {
	in := &l.inspection
	if len(in.filters) == 0 {
		return f, nil
	}
	within, cancel := ctx, context.CancelFunc(func() {})
	if in.timeout > 0 {
		within, cancel = context.WithTimeoutCause(ctx, in.timeout, errFiltersTimeout)
	}
	defer cancel()
	peek := network.NewPeek(f)
	err := listenerfilter.Inspect(within, in.filters, peek)
	if errors.Is(err, errFiltersTimeout) {
		l.n.filtersTimeout.Inc()
		if in.goOn {
			err = nil
		}
	}
	conn, accepted := peek.Conn()
	switch {
	case err != nil:
		return nil, l.inspectionFailed(f, conn, err)
	case accepted:
		return accept(f, conn), nil
	}
	return f, nil
}

// inspectionFailed ends the flow, answered already (conn) or not.
func (l *Listener) inspectionFailed(f network.Flow, conn network.Conn, err error) error {
	l.n.filterError.Inc()
	err = fmt.Errorf("listener %q: %w", l.name, err)
	f.Info().Fail(err)
	if conn != nil {
		conn.Abort(err)
	} else {
		f.Reject(err)
	}
	return err
}
