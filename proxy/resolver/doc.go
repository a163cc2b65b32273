// Package resolver turns host names into addresses: the system's resolver
// behind a small cache, a bound on how many questions are open at once, and
// one question at a time per name. It learns the records' own TTLs where the
// system's resolver is a DNS client.
package resolver
