// Package world is where subjects are measured: four network namespaces of the
// run's own, joined by links, with an origin at the far end. Nothing of it is on
// the host, and it is gone when the run ends.
//
//	app ───────────────────────────┐
//	                               │ 198.51.100.0/28
//	here ──── 198.51.100.32/28 ────┤ origin
//	 │                             │
//	 ├─ .64/28 ─ gateway ─ .96/28 ─┘
//	 └─ .128/28 ~~~ ┘
//
// Applications and what captures them are in here, or in app where a subject
// has a namespace for them; the second half of a pair is in gateway. The second
// link to it is slow and loses packets, and gateway has an origin of its own for
// who comes that way.
package world
