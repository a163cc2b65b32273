// Package report says what was measured: as text, as a page with tables and
// charts, and as a baseline for a later run.
package report
