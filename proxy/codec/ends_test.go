package codec_test

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"

	"culvert/proxy/codec"
	"culvert/proxy/network"
)

type refused struct{}

func (refused) Error() string         { return "refused" }
func (refused) ResetCode() codec.Code { return codec.CodeRefused }

func TestCodeForAsksTheChain(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want codec.Code
	}{
		{"none", nil, codec.CodeNoError},
		{"typed beneath a reset", fmt.Errorf("read: %w", &network.ResetError{Remote: true, Err: refused{}}), codec.CodeRefused},
		{"untyped reset by the peer", &network.ResetError{Remote: true}, codec.CodeConnect},
		{"the kernel's word for it", syscall.ECONNRESET, codec.CodeConnect},
		{"canceled", fmt.Errorf("open: %w", context.Canceled), codec.CodeCancel},
		{"out of time", os.ErrDeadlineExceeded, codec.CodeCancel},
		{"a reset of our own says nothing", &network.ResetError{}, codec.CodeInternal},
		{"anything else", os.ErrInvalid, codec.CodeInternal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := codec.CodeFor(tt.err); got != tt.want {
				t.Errorf("CodeFor(%v) = %d, want %d", tt.err, got, tt.want)
			}
		})
	}
}
