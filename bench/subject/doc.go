// Package subject is what is measured: culvert in each of its shapes, the
// kernel with nothing or little in the way, and what else one would use.
package subject
