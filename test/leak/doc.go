// Package leak fails a package's tests when they leave something behind:
// goroutines, or open files.
//
//	func TestMain(m *testing.M) { leak.Main(m) }
package leak
