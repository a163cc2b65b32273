// Package cycles lets whole appliances live and die under load, many times in
// one process, and looks at what they leave behind: goroutines, descriptors and
// memory must be what they were.
package cycles
