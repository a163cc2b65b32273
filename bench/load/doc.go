// Package load makes the traffic that subjects are measured with: an origin
// that takes and gives bytes, and applications that connect through what is
// measured.
package load
