// Package codectest has what the tests of every codec need: a connection in
// memory, for tests with a clock of their own (testing/synctest), which sockets
// do not follow.
package codectest
