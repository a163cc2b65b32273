package tunnel

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

func TestDialerCountsHops(t *testing.T) {
	for _, behind := range []int{0, 3, network.MaxHops - 1, network.MaxHops} {
		asked := -1
		d := NewDialer(openerFunc(func(_ context.Context, head *codec.Request, _ *network.StreamInfo) (codec.ClientStream, error) {
			asked = codec.Hops(head.Header)
			return newFakeStream(codec.HTTP2, response(200)), nil
		}), connectHead)
		info := network.NewStreamInfo(1).Child(2)
		info.RaiseHops(behind)
		c, _, err := d.Open(t.Context(), info.Inner(3))
		if behind < network.MaxHops {
			if err != nil || asked != behind+1 {
				t.Errorf("after %d hops: asked with %d, %v", behind, asked, err)
				continue
			}
			_ = c.Close()
			continue
		}
		if asked != -1 || network.ReasonFor(err) != network.ReasonLoop {
			t.Errorf("after %d hops: asked with %d, %v", behind, asked, err)
		}
	}
}

// A loop that the gateway found, or that lies on the way to it, is a loop to
// whoever asked, and no attempt of his tries it again.
func TestLoopIsPassedBack(t *testing.T) {
	answer := response(502, proxyStatus("culvert;error=proxy_loop_detected"))
	lost := network.WithReason(network.ReasonLoop, errors.New("loop"))
	for name, o := range map[string]openerFunc{
		"answered": opens(newFakeStream(codec.HTTP2, answer)),
		"on the way": func(context.Context, *codec.Request, *network.StreamInfo) (codec.ClientStream, error) {
			return nil, fmt.Errorf("dial: %w", lost)
		},
	} {
		_, _, err := NewDialer(o, connectHead).Open(t.Context(), network.NewStreamInfo(1))
		if network.ReasonFor(err) != network.ReasonLoop || network.FlagFor(err) != 0 {
			t.Errorf("%s: %v, reason %v, flag %v", name, err, network.ReasonFor(err), network.FlagFor(err))
		}
	}
}
