// Command conformance runs the tests that go by the ids of the conformance list
// and gives account of it: behaviour by behaviour what passed, in how many cases
// and in which modes; what failed; what does not apply, and why; and what is
// missing. It exits 1 if anything failed or is missing, or if what the list of
// exemptions says is not so.
//
//	go run ./test/conformance          run the tests, print the account
//	go run ./test/conformance -read    read `go test -json` from standard input
//
// Two reviewed lists rule it. behaviours.md has the behaviours, and says for each
// whether it is asked once, in every mode a tunnel has, or for every pair of a
// downstream and an upstream version. not_applicable.md has the exemptions.
//
// # How a test says what it shows
//
// By its name. A test's ids follow its Test (TestG17FB21GoAway); those of a case
// open its name ("G31 204"). A case counts for the ids of its innermost name that
// has any. So once one case of a test names ids, a case without them counts for
// nothing. A mode is a subtest called as tunnel.Mode.String has it
// (HTTP2-CONNECT-TLS), a pair one that is called downstream-upstream
// (HTTP11-HTTP2), at whichever depth.
package main
