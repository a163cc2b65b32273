// Package measure turns repeated figures into what may be said of them: a
// median, the interval it lies in, and the ratio of two subjects that were
// measured in turns.
package measure
