// Package netstacktest is what tests of the netstack stand on without a TUN and
// without privilege: two devices joined back to back, a peer that sends and
// reads single packets, and a second stack that plays the application.
//
//	application stack ── Device ═══ Device ── the stack under test
//	           or Wire ── Device ═══ Device ── the stack under test
package netstacktest
