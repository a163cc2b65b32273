// Package need is where a test says what it cannot run without: root, a TUN, a
// command. It is the only place that skips a test.
//
//	func TestCapture(t *testing.T) {
//		need.TUN(t)
//		curl := need.Command(t, "curl")
//		...
//	}
//
// What is missing skips the test with a line that begins with "need: ". With
// CULVERT_TEST_ALL=1, as where everything is known to be installed, it fails
// the test instead, so that nothing is left out in silence. With
// CULVERT_TEST_SKIPPED=FILE each skip is also appended to FILE, one line a
// test, for a list at the end of a run over many packages (go test prints
// nothing of packages that pass).
package need
