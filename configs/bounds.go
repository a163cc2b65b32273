package configs

// Bounds of what Load takes. A configuration is written by its operator, but
// may be made by a template that went wrong, or fetched.
const (
	// maxDocument is the size of a file, bytes.
	maxDocument = 16 << 20
	// maxDepth is how deep maps and lists may nest. Envoy's own reader stops at
	// 100 as well.
	maxDepth = 100
	// maxNodes is the number of maps, lists and scalars in a file.
	maxNodes = 1 << 20
	// maxAliasNodes is how many nodes aliases and merge keys may add to those
	// written. At up to some 300 bytes a node once decoded, a bomb ends below
	// 64 MiB.
	maxAliasNodes = 100_000
	// maxProblems is how many problems are listed; the rest is counted.
	maxProblems = 100
)
