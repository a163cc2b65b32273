// Package listenerfilter is what looks at a connection before a filter chain is
// chosen for it: for whom it really is (original_dst), whom it really comes from
// (proxy_protocol). A filter reads ahead through a network.Peek, writes what it
// learns into the flow's info, and gives the rest of the bytes back.
package listenerfilter
