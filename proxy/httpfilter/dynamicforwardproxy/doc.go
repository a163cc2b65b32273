// Package dynamicforwardproxy is the HTTP filter of that name: it resolves the
// host that a request names before the router asks for it, so that a name which
// does not resolve is answered as such. The names are the cluster's to keep;
// through a cluster of another type requests pass untouched.
package dynamicforwardproxy
