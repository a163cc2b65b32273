// Package process runs the programs that are measured and reads what the kernel
// charges them.
package process
