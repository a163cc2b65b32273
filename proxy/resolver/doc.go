// Package resolver turns host names into addresses: the system's resolver
// behind a small cache, a bound on how many questions are open at once, and
// one question at a time per name.
package resolver
