package hcm

import (
	"testing"

	"culvert/proxy/codec/h2"
)

// A window that is configured is what it is; any other is what there is room for,
// and may grow.
func TestConfiguredWindowDoesNotGrow(t *testing.T) {
	d := Deps{StreamWindow: func() int { return 123 }, MayGrow: func() bool { return true }}
	if cfg := buffering(h2.Config{StreamWindow: 1 << 20}, d); cfg.StreamWindow != 1<<20 || cfg.MayGrow != nil {
		t.Errorf("configured: %d, grows: %v", cfg.StreamWindow, cfg.MayGrow != nil)
	}
	if cfg := buffering(h2.Config{}, d); cfg.StreamWindow != 123 || cfg.MayGrow == nil {
		t.Errorf("not configured: %d, grows: %v", cfg.StreamWindow, cfg.MayGrow != nil)
	}
	if cfg := buffering(h2.Config{}, Deps{}); cfg.StreamWindow != 0 || cfg.MayGrow != nil {
		t.Errorf("with nobody to ask: %d, grows: %v", cfg.StreamWindow, cfg.MayGrow != nil)
	}
}
