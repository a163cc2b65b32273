package h2_test

import (
	"testing"

	"culvert/proxy/codec/h2"
)

// A window that is configured is what it is; any other is what there is room for,
// and may grow.
func TestBuffering(t *testing.T) {
	window, mayGrow := func() int { return 123 }, func() bool { return true }
	if cfg := (h2.Config{StreamWindow: 1 << 20}).Buffering(window, mayGrow); cfg.StreamWindow != 1<<20 || cfg.MayGrow != nil {
		t.Errorf("configured: %d, grows: %v", cfg.StreamWindow, cfg.MayGrow != nil)
	}
	if cfg := (h2.Config{}).Buffering(window, mayGrow); cfg.StreamWindow != 123 || cfg.MayGrow == nil {
		t.Errorf("not configured: %d, grows: %v", cfg.StreamWindow, cfg.MayGrow != nil)
	}
	if cfg := (h2.Config{}).Buffering(nil, nil); cfg.StreamWindow != 0 || cfg.MayGrow != nil {
		t.Errorf("with nobody to ask: %d, grows: %v", cfg.StreamWindow, cfg.MayGrow != nil)
	}
}
