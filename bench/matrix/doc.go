// Package matrix measures subjects under loads, in turns: each round starts each
// subject once, and lets it carry each load. What disturbs the machine disturbs
// all of them.
package matrix
