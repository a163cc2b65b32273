// Package conformance keeps account of the conformance list: which behaviours
// are tested, under their ids, and which do not apply, with the reason.
package conformance
