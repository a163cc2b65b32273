// Package route compiles a RouteConfiguration into a Table and answers, for a
// request head, which route it takes: the virtual host by its authority, then
// the first route whose match holds. Nothing here reads bytes, keeps time or
// draws a random number, so every decision can be tested by a table.
//
// A CONNECT without a path (RFC 9113 §8.5) meets connect_matcher only: no
// matcher that looks at a path ever sees it.
package route
