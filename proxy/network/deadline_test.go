package network

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadline(t *testing.T) {
	passedAfter := func(d *Deadline) time.Duration {
		began := time.Now()
		select {
		case <-d.Passed():
			return time.Since(began)
		case <-time.After(time.Hour):
			return -1
		}
	}
	for _, c := range []struct {
		name string
		set  func(d *Deadline)
		want time.Duration
	}{
		{"never set", func(*Deadline) {}, -1},
		{"future", func(d *Deadline) { d.Set(time.Now().Add(time.Second)) }, time.Second},
		{"past", func(d *Deadline) { d.Set(time.Now().Add(-time.Second)) }, 0},
		{"taken away", func(d *Deadline) { d.Set(time.Now().Add(time.Second)); d.Set(time.Time{}) }, -1},
		{"taken away after it passed", func(d *Deadline) { d.Set(time.Now().Add(-1)); d.Set(time.Time{}) }, -1},
		{"moved later", func(d *Deadline) { d.Set(time.Now().Add(1)); d.Set(time.Now().Add(time.Minute)) }, time.Minute},
		{"moved later while waited for", func(d *Deadline) {
			d.Set(time.Now().Add(time.Second))
			time.AfterFunc(time.Second/2, func() { d.Set(time.Now().Add(time.Second)) })
		}, 3 * time.Second / 2},
		{"moved earlier while waited for", func(d *Deadline) {
			d.Set(time.Now().Add(time.Minute))
			time.AfterFunc(time.Second, func() { d.Set(time.Now()) })
		}, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d Deadline
				c.set(&d)
				if got := passedAfter(&d); got != c.want {
					t.Errorf("passed after %s, want %s", got, c.want)
				}
			})
		})
	}
	t.Run("stale timer", func(t *testing.T) {
		var d Deadline
		d.Set(time.Now().Add(time.Hour))
		stale := d.changes
		d.Set(time.Now().Add(time.Hour))
		d.expire(stale) // it ran while set held the lock
		if isClosed(d.Passed()) {
			t.Error("passed by the timer of an earlier time")
		}
		d.Set(time.Time{})
	})
}
