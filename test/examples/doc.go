// Package examples proves the files of configs/ by the commands that they begin
// with: the lines after "# prove:" are run as they stand, by bash, with the real
// binary, in a network namespace where nothing else is.
package examples
