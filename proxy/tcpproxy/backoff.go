package tcpproxy

import (
	"context"
	"time"

	"culvert/configs/field"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// backoff is a jittered exponential wait between attempts: a random part of an
// interval that doubles from base to max.
type backoff struct{ base, max time.Duration }

func newBackoff(m *corev3.BackoffStrategy) (*backoff, error) {
	if m == nil {
		return nil, nil
	}
	b := &backoff{base: m.GetBaseInterval().AsDuration()}
	b.max = 10 * b.base
	if m.GetMaxInterval() != nil {
		b.max = m.GetMaxInterval().AsDuration()
	}
	switch {
	case b.base < time.Millisecond:
		return nil, field.Errorf("base_interval", "must be at least 1ms")
	case b.max < b.base:
		return nil, field.Errorf("max_interval", "max_interval must be greater than or equal to the base_interval")
	}
	return b, nil
}

// interval is the wait before attempt n+1, n from 1.
func (b *backoff) interval(n int, random func(int64) int64) time.Duration {
	d := b.base
	for range n - 1 {
		if d >= b.max/2 {
			d = b.max
			break
		}
		d *= 2
	}
	return time.Duration(random(int64(d)))
}

// wait waits before the attempt after the nth; the error is why ctx ended.
func (p *TCPProxy) wait(ctx context.Context, n int) error {
	if p.backoff == nil {
		return context.Cause(ctx)
	}
	t := time.NewTimer(p.backoff.interval(n, p.random))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
