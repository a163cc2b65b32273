package tcpproxy

import (
	"context"
	"errors"
	"fmt"

	"culvert/proxy/network"
)

// errNotAnswered is an internal listener that returned without a yes or no.
var errNotAnswered = errors.New("the internal listener did not answer")

// passOn hands the flow to the handler of an internal listener. A refusal
// before the answer is a failed attempt. errServed: it was answered yes and
// served; how it ended is in the infos.
func (s *session) passOn(ctx, within context.Context, h network.Handler) error {
	child := s.child()
	s.p.deps.Flows.Add(child)
	defer s.p.deps.Flows.Remove(child)
	f := &innerFlow{session: s, info: child, within: within}
	err := h.ServeFlow(ctx, f)
	f.bounds.stop()
	s.info.Meter.Received(int(child.Meter.BytesReceived()))
	s.info.Meter.Sent(int(child.Meter.BytesSent()))
	switch {
	case f.accepted:
		if cause := f.bounds.reached(); cause != nil {
			err = cause
			s.timedOut(err)
		}
		s.info.Cause = err
		s.info.Flags |= child.Flags & (network.FlagDR | network.FlagUR | network.FlagDC | network.FlagUC | network.FlagDT)
		return errServed
	case f.rejected != nil:
		return fmt.Errorf("internal listener: %w", f.rejected)
	case err != nil:
		return fmt.Errorf("internal listener: %w", err)
	}
	return network.WithReason(network.ReasonGateway, errNotAnswered)
}

// child is the info of the flow as it enters the endpoint that was picked.
func (s *session) child() *network.StreamInfo {
	id := s.p.deps.Flows.NextID()
	if u := s.info.Upstream(); u != nil {
		return s.info.InnerAt(id, u.Host)
	}
	return s.info.Inner(id)
}

// innerFlow is the flow as the internal listener sees it.
type innerFlow struct {
	session *session
	info    *network.StreamInfo
	within  context.Context // of the attempt

	accepted bool
	rejected error
	bounds   bounds
}

// Info implements network.Flow.
func (f *innerFlow) Info() *network.StreamInfo { return f.info }

// Context ends when the outer flow is not awaited any longer; once it is
// answered, with the outer flow.
func (f *innerFlow) Context() context.Context { return f.within }

// Accept answers the outer flow.
func (f *innerFlow) Accept(ctx context.Context) (network.Conn, error) {
	if f.rejected != nil {
		return nil, f.rejected
	}
	c, err := f.session.accept(ctx)
	if err == nil && !f.accepted {
		f.accepted = true
		f.info.Mark(network.StepAccepted)
		f.session.answered()
		f.session.connected()
		f.bounds.start(f.session, c, &f.info.Meter)
	}
	return c, err
}

// Reject fails the attempt; the outer flow is answered when there is no other.
func (f *innerFlow) Reject(cause error) {
	if f.accepted || f.rejected != nil {
		return
	}
	f.rejected = cause
	if f.info.Cause == nil {
		f.info.Fail(cause)
	}
	f.info.Mark(network.StepRejected)
}
