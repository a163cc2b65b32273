package network

import "testing"

// A flow that is published again keeps nothing of what it was before.
func TestPublishAllocatesOnce(t *testing.T) {
	s := NewStreamInfo(1)
	s.Mark(StepMatched)
	before := s.Snapshot()
	s.Route = "later"
	if n := testing.AllocsPerRun(100, s.Publish); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got := s.Snapshot(); got.Route != "later" || got.ID != 1 || before.Route != "" {
		t.Errorf("before %+v, then %+v", before, got)
	}
}
