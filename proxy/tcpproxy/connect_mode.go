package tcpproxy

import (
	"context"
	"fmt"

	"culvert/configs/field"
	"culvert/proxy/network"

	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
)

// stateReceiveBeforeConnect, true, takes bytes of a flow before its far half is
// open, as max_early_data_bytes does for all.
const stateReceiveBeforeConnect = "envoy.tcp_proxy.receive_before_connect"

// connectMode says when the far half is opened, and what may be read of a flow
// before.
type connectMode struct {
	onData bool
	early  int // bytes; negative: nothing is read before
}

func newConnectMode(m *tcpproxyv3.TcpProxy) (connectMode, error) {
	mode := connectMode{early: -1}
	if v := m.GetMaxEarlyDataBytes(); v != nil {
		mode.early = int(v.GetValue())
	}
	switch m.GetUpstreamConnectMode() {
	case tcpproxyv3.UpstreamConnectMode_IMMEDIATE:
		return mode, nil
	case tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_DATA:
		mode.onData = true
	case tcpproxyv3.UpstreamConnectMode_ON_DOWNSTREAM_TLS_HANDSHAKE:
		// The listener has finished it before a flow comes here.
	default:
		return mode, field.Errorf("upstream_connect_mode", "unknown mode %d", m.GetUpstreamConnectMode())
	}
	if mode.early < 0 {
		return mode, field.WithFix(field.Errorf("max_early_data_bytes",
			"max_early_data_bytes must be set when upstream_connect_mode is %s", m.GetUpstreamConnectMode()), "max_early_data_bytes: 65536")
	}
	return mode, nil
}

// earlyFor is how many bytes of a flow may be read before, negative for none.
func (m connectMode) earlyFor(info *network.StreamInfo) int {
	if m.early < 0 && stateBool(info, stateReceiveBeforeConnect) {
		return defaultEarlyData
	}
	return m.early
}

// begin accepts a flow of which bytes are wanted before its far half is open,
// and waits for the first where the far half is not to be opened without. False:
// the session is over, with the error.
func (s *session) begin(ctx context.Context) (bool, error) {
	limit := s.p.mode.earlyFor(s.info)
	if limit < 0 {
		return true, nil
	}
	var err error
	if s.early, err = takeEarly(ctx, s.flow, limit, s.p.n.earlyData.Inc); err != nil {
		err = network.WithReason(network.ReasonCanceled, fmt.Errorf("accept: %w", err))
		s.info.Fail(err)
		return false, err
	}
	if !s.p.mode.onData {
		return true, nil
	}
	within, cancel := s.whileAwaited(ctx)
	defer cancel()
	spoke, err := s.early.awaitFirst(within)
	switch {
	case spoke:
		return true, nil
	case err == nil: // it came and went, and asked for nothing
		c := s.early.stop()
		_ = c.CloseWrite() // the peer has nothing to wait for
		_ = c.Close()
		return false, nil
	case within.Err() != nil:
		err = s.gaveUp(within, err)
	default:
		s.info.Flags |= network.FlagDC
	}
	s.reject(err)
	return false, err
}

// accept answers the flow yes and is its connection; it may be called again.
func (s *session) accept(ctx context.Context) (network.Conn, error) {
	if s.early != nil {
		return s.early.stop(), nil
	}
	return s.flow.Accept(ctx)
}

// reject answers no. The flags are set by now. To a flow that was accepted early
// only a reset can say it.
func (s *session) reject(err error) {
	s.info.Cause = err
	if s.early != nil {
		s.early.abort(err)
		return
	}
	s.flow.Reject(err)
}

// peer ends when whoever asked goes away.
func (s *session) peer() context.Context {
	if s.early != nil {
		return s.early.gone
	}
	return s.flow.Context()
}
