package h2_test

import (
	"testing"

	"culvert/proxy/codec"
)

// Whoever waits for a stream's end is called when it comes, or at once where it
// has come, and not once he has stopped waiting.
func TestAfterEnd(t *testing.T) {
	roles(t, func(t *testing.T, left, right codec.Stream) {
		called := make(chan string, 4)
		stopped := codec.AfterEnd(left, func() { called <- "who no longer waits" })
		if !stopped() || stopped() {
			t.Error("stop does not say whether it stopped the call")
		}
		late := codec.AfterEnd(left, func() { called <- "left" })
		codec.AfterEnd(right, func() { called <- "right" })
		left.Reset(codec.CodeCancel, nil)
		if a, b := <-called, <-called; a == b || a != "left" && b != "left" || a != "right" && b != "right" {
			t.Errorf("called: %s, %s", a, b)
		}
		if late() {
			t.Error("a call that was made is said to be stopped")
		}
		codec.AfterEnd(left, func() { called <- "left" })
		if got := <-called; got != "left" {
			t.Errorf("after the end: %s", got)
		}
		<-left.Context().Done() // one that is made later has ended too
	})
}
