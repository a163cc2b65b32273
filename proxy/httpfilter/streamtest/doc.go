// Package streamtest is an HTTP exchange in memory: the two ends of one stream,
// with the contract of codec.Stream and no wire between them. It is for tests
// of what stands above the codecs, and works inside testing/synctest.
package streamtest
